"""Finds faults of a prepared set of sentence pairs before a run.

The same functions for images are in `ttt.data.looks`, which names their callers. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ttt.data import bounds, manifest
from ttt.data.corpus import bounds_of, model, references
from ttt.data.examined import Examined
from ttt.errors import DataError

_SETTINGS = ("train_samples", "eval_samples", "vocabulary", "max_length")
SETTINGS = ("root", *_SETTINGS)  # that decide what is found here
_SIDES = {"train.src": "train", "train.trg": "train", "eval.src": "eval"}  # and their parts
_DTYPES = ("uint16", "int32")
_QUICK = 1 << 25  # tokens of a file that are looked at before a run
_BLOCK = 1 << 22  # tokens at a time
_AGAIN = "remove {root} and prepare the set again"


def faults(data: Any) -> list[str]:
    """What is wrong with a set, by its manifest, the sizes of its files and their counts.

    Args:
        data: Any object with `root` and the settings of `ttt.data.text.ParallelText`; those that
            are None are to be counted.
    """
    root = Path(data.root)
    try:
        recorded = _recorded(root)
    except DataError as error:
        return [str(error)]
    wrong = manifest.differences(root, recorded, {name: getattr(data, name) for name in _SETTINGS})
    for name, part in _SIDES.items():
        wrong += _of_side(root, name, recorded[f"{part}_samples"], str(recorded["dtype"]))
    wrong += _of_references(root, recorded["eval_samples"])
    return [*wrong, *_of_model(root, recorded["vocabulary"])]


def counts(data: Any) -> dict[str, int]:
    """The values of settings that the set itself gives.

    Args:
        data: Any object with `root`.

    Raises:
        DataError: It cannot be counted.
    """
    recorded = _recorded(Path(data.root))
    return {name: recorded[name] for name in _SETTINGS}


def examined(data: Any, part: int = 0, parts: int = 1, *, quick: bool = False) -> Examined | None:
    """Look for tokens that no vocabulary of this size has.

    Args:
        data: Any object with `root`.
        part: Which of the files this process looks at.
        parts: Of how many parts.
        quick: Look at the beginning of large files only.
    """
    root = Path(data.root)
    try:
        recorded = _recorded(root)
    except DataError:
        return None  # `faults` reports it
    read, bad = 0, []
    for name in list(_SIDES)[part::parts]:
        path = root / f"{name}.bin"
        samples, dtype = recorded[f"{_SIDES[name]}_samples"], str(recorded["dtype"])
        if not any(_of_side(root, name, samples, dtype)):
            tokens = np.memmap(path, dtype, mode="r")
            count = min(len(tokens), _QUICK) if quick else len(tokens)
            read += count
            blocks = (tokens[at : at + _BLOCK] for at in range(0, count, _BLOCK))
            ends = [(int(block.min()), int(block.max())) for block in blocks]
            least, most = min(low for low, _ in ends), max(high for _, high in ends)
            if least < 0 or most >= recorded["vocabulary"]:
                odd = most if most >= recorded["vocabulary"] else least
                why = f"it holds the token {odd}, and the vocabulary has 0 to"
                bad.append((str(path), f"{why} {recorded['vocabulary'] - 1}"))
    return Examined(read, "tokens", _AGAIN.format(root=root), bad)


def _recorded(root: Path) -> dict[str, Any]:
    """The manifest, if it has everything that a set of sentence pairs needs.

    Raises:
        DataError: There is none, or it is not that of sentence pairs.
    """
    recorded = manifest.read(root, "max_length", "a set of sentence pairs")
    if lacking := [name for name in ("vocabulary", "dtype") if name not in recorded]:
        raise DataError(
            f"{root / manifest.MANIFEST} says no {' and no '.join(lacking)}: "
            + _AGAIN.format(root=root)
        )
    if not all(manifest.is_count(recorded[name], bounds.SAMPLES) for name in _SETTINGS):
        raise DataError(
            f"{root / manifest.MANIFEST} needs {', '.join(_SETTINGS)}, a whole number above 0 each:"
            f" {_AGAIN.format(root=root)}"
        )
    if recorded["dtype"] not in _DTYPES:
        raise DataError(
            f"{root / manifest.MANIFEST} says dtype={recorded['dtype']}; allowed:"
            f" {', '.join(_DTYPES)}: {_AGAIN.format(root=root)}"
        )
    return recorded


def _of_side(root: Path, name: str, sentences: int, dtype: str) -> Iterator[str]:
    try:
        _, ends = bounds_of(root, name, dtype)
    except DataError as error:
        yield str(error)
        return
    if len(ends) - 1 != sentences:
        yield (
            f"{root / name}.npy counts {len(ends) - 1} sentences and {manifest.MANIFEST} says"
            f" {sentences}: every sentence needs its translation; {_AGAIN.format(root=root)}"
        )


def _of_references(root: Path, sentences: int) -> Iterator[str]:
    try:
        lines = len(references(root))
    except DataError as error:
        yield str(error)
        return
    except UnicodeDecodeError as error:
        yield f"{root / 'eval.trg.txt'} is not UTF-8 ({error}): {_AGAIN.format(root=root)}"
        return
    if lines != sentences:
        yield (
            f"{root / 'eval.trg.txt'} has {lines} lines and {manifest.MANIFEST} says {sentences}:"
            f" every sentence needs its translation; {_AGAIN.format(root=root)}"
        )


def _of_model(root: Path, vocabulary: int) -> Iterator[str]:
    """What is wrong with the model of the tokens; its size is checked if sentencepiece is here."""
    try:
        content = model(root)
        from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - an extra
    except DataError as error:
        yield str(error)
        return
    except ImportError:  # the loader says what to install
        return
    path = root / "spm.model"
    try:
        size = SentencePieceProcessor(model_proto=content).vocab_size()
    except (RuntimeError, OSError) as error:
        yield f"{path} is no model of sentencepiece ({error}): {_AGAIN.format(root=root)}"
        return
    if size != vocabulary:
        yield (
            f"{path} has {size} tokens and {manifest.MANIFEST} says vocabulary={vocabulary}: they"
            f" are of two sets; {_AGAIN.format(root=root)}"
        )
