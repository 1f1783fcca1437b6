"""Which token ids mean no word: agreed between text loaders, models and metrics.

The order is that of sentencepiece's own defaults for these four, with padding put first.
"""

PAD, UNK, BOS, EOS = range(4)
