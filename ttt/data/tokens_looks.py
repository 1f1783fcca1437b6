"""Finds faults of a set of tokens before a run, and counts what the settings leave open.

The same functions for images are in `ttt.data.looks`, which names their callers. No torch. A set
needs no manifest: files of others have none, and the index counts the tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ttt.data import bounds, manifest
from ttt.data.examined import Examined, places
from ttt.data.megatron import Indexed, open_indexed
from ttt.errors import DataError
from ttt.schema.data.tokens import outside

SETTINGS = (  # that decide what is found here
    *("root", "train", "eval", "sequence_length"),
    *("train_samples", "eval_samples", "vocabulary"),
)
_PARTS = ("train", "eval")
_BLOCK = 1 << 16  # tokens looked at in one place
_QUICK, _MOST = 8, 256  # places in a file: before a run; the doctor's


def miscounted(settings: Any, part: str, files: Indexed) -> str | None:
    """A sentence if a set has not the samples that are configured; None if it has.

    Args:
        settings: Those of `TokensDataConfig`; a count that is None is to be counted.
        part: "train", which must have the very number, or "eval", which may have more.
        files: Those of the part.
    """
    if settings.sequence_length < 1:
        return None  # the rules of the settings say it
    asked, there = getattr(settings, f"{part}_samples"), files.samples(settings.sequence_length)
    length = f"data.sequence_length={settings.sequence_length}"
    if not there:
        return (
            f"{files.prefix}.idx lists {files.total:,} tokens, fewer than a sequence of {length};"
            f" type data.sequence_length={max(1, files.total - 1)}, or data.root=DIR"
        )
    if asked is None or asked == there or (part == "eval" and asked < there):
        return None
    return (
        f"{files.prefix}.idx lists {files.total:,} tokens, which make {there} sequences of"
        f" {length}, but data.{part}_samples={asked}; type data.{part}_samples={there}"
    )


def faults(data: Any) -> list[str]:
    """What is wrong with a set, by its indexes, the sizes of its files and their counts.

    Args:
        data: Any object with the settings of `ttt.data.tokens.TokenData`; those that are None are
            to be counted.
    """
    wrong: list[str | None] = []
    if any(outside(getattr(data, part)) for part in _PARTS):
        return []  # the rules of the settings say it
    for part in _PARTS:
        try:
            wrong.append(miscounted(data, part, _open(data, part)))
        except DataError as error:
            wrong += error.problems
    try:
        known = _recorded(data)
    except DataError as error:
        wrong += error.problems
    else:
        wrong += manifest.differences(
            Path(data.root), known, {"vocabulary": data.vocabulary} if known else {}
        )
    return [sentence for sentence in wrong if sentence]


def counts(data: Any) -> dict[str, Any]:
    """The values of settings that the set itself gives; the vocabulary only by a manifest.

    Args:
        data: Any object with the settings of `ttt.data.tokens.TokenData`.

    Raises:
        DataError: It cannot be counted.
    """
    length = max(1, data.sequence_length)  # the rules of the settings refuse another
    found = {f"{part}_samples": _open(data, part).samples(length) for part in _PARTS}
    if short := [name for name, count in found.items() if not count]:
        raise DataError(f"data.{short[0]}=null: there is no sequence of {length} tokens")
    return found | _recorded(data)


def examined(data: Any, part: int = 0, parts: int = 1, *, quick: bool = False) -> Examined | None:
    """Look for tokens that no vocabulary of this size has, at even distances in each file.

    Args:
        data: Any object with the settings of `ttt.data.tokens.TokenData`.
        part: Which of the places this process looks at.
        parts: Of how many parts.
        quick: Look at few places only.

    Returns:
        None if the set has faults, or its vocabulary is not known.
    """
    vocabulary = data.vocabulary
    read, highest, bad = 0, 0, []
    for name in _PARTS:
        try:
            files = _open(data, name)
            vocabulary = vocabulary or _recorded(data).get("vocabulary")
        except DataError:
            return None  # `faults` reports it
        if vocabulary is None:
            return None
        limit = _QUICK if quick else _MOST
        odd: tuple[int, int] | None = None  # where, and which token
        for begin in places(len(files.tokens), _BLOCK, limit)[part::parts]:
            block = files.tokens[begin : begin + _BLOCK]
            read += len(block)
            least, most = int(block.min()), int(block.max())
            highest = max(highest, most)
            if odd is None and (least < 0 or most >= vocabulary):
                odd = begin, least if least < 0 else most
        if odd:
            why = f"it holds the token {odd[1]}, and the vocabulary has 0 to {vocabulary - 1}"
            bad.append((f"{files.prefix}.bin, token {odd[0]} and those after it,", why))
    advice = "get the files again"
    if highest >= (vocabulary or 0):
        advice = f"type data.vocabulary={highest + 1} or more, or {advice}"
    return Examined(read, "tokens", advice, bad)


def _open(data: Any, part: str) -> Indexed:
    return open_indexed(Path(data.root) / getattr(data, part))


def _recorded(data: Any) -> dict[str, Any]:
    """The vocabulary that a manifest says, if there is one.

    Raises:
        DataError: It is damaged.
    """
    path = Path(data.root) / manifest.MANIFEST
    found = manifest.content(path).get("vocabulary") if path.exists() else None
    sound = isinstance(found, int) and manifest.is_count(found, bounds.SAMPLES)
    return {"vocabulary": found} if sound else {}
