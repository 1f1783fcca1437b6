"""Which token ids mean no word: agreed between text loaders, models, tasks and metrics.

The order is that of sentencepiece's own defaults for these four, with padding put first.
"""

PAD, UNK, BOS, EOS = range(4)


def without_special(ids: list[int]) -> list[int]:
    """A sentence up to its end."""
    return ids[: ids.index(EOS)] if EOS in ids else ids
