"""Finds faults of a set of masked sequences before a run.

The same functions for images are in `ttt.data.looks`, which names their callers. No torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ttt.data import bounds, examples
from ttt.data.examined import Examined
from ttt.data.formats import Damaged
from ttt.errors import DataError, fault

SETTINGS = ("root", "train", "eval", "length", "predictions", "vocabulary")
_HEAD = 1 << 20  # bytes of a file that are looked at


def faults(data: Any) -> list[str]:
    """What is wrong with a set, by the names of its files.

    Args:
        data: Any object with the settings of `ttt.data.masked.MaskedSequences`.
    """
    root = Path(data.root)
    wrong = []
    if not _files(data):
        why = f"holds no file to train on, named {data.train}*"
        typed = "data.root=DIR, or data.train=FOLDER/BEGINNING"
        wrong.append(fault("data.root", root, why, typed=typed))
    if not (root / data.eval).is_file():
        why = f"holds no file {data.eval} to evaluate on"
        typed = "data.root=DIR, or data.eval=FILE"
        wrong.append(fault("data.root", root, why, typed=typed))
    return wrong


def examined(data: Any, part: int = 0, parts: int = 1, *, quick: bool = False) -> Examined | None:
    """Look at the first sample of files.

    Args:
        data: Any object with the settings of `ttt.data.masked.MaskedSequences`.
        part: Which of the files this process looks at.
        parts: Of how many parts.
        quick: Look at the first file to train on, and at that to evaluate on, only.

    Returns:
        None if the set has faults.
    """
    if faults(data):
        return None
    files = _files(data)
    bad = []
    looked = [*(files[:1] if quick else files), Path(data.root) / data.eval][part::parts]
    for file in looked:
        if why := _first(file, data):
            bad.append((str(file), why))
    return Examined(len(looked), "files", "copy {} again", bad)


def _files(data: Any) -> list[Path]:
    pattern = Path(data.root) / f"{data.train}*"
    return sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())


def _first(file: Path, data: Any) -> str | None:
    """What is wrong with the first sample of a file."""
    try:
        with bounds.opened(file) as stream:
            head = stream.read(_HEAD)
        size = int.from_bytes(head[:8], "little") + 16
        sample = examples.parse(head[:size], data.length, data.predictions)
    except (OSError, DataError, Damaged) as error:
        return str(error)
    return examples.strange(np.stack([sample]), data.length, data.predictions, data.vocabulary)
