"""Click logs on disk: a file of equal records a part, and a manifest that says how to read them.

A record is 1 + D + H words of 32 bits, little-endian: the label, D dense features as fp32 bits, H
ids side by side, feature after feature. One record lies in one place, so that a batch is one read
and one copy to the device in any order. NumPy only: preparers and loaders share this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ttt.data import manifest
from ttt.errors import DataError

PARTS = ("train", "eval")

Words = npt.NDArray[np.int32]


def file_of(root: Path, part: str) -> Path:
    """Where the records of a part ("train" or "eval") lie."""
    return root / f"{part}.bin"


def width(dense: int, hots: Sequence[int]) -> int:
    """Words in a record."""
    return 1 + dense + sum(hots)


def pack(labels: npt.NDArray[Any], dense: npt.NDArray[np.float32], ids: npt.NDArray[Any]) -> Words:
    """Records [N, 1 + D + H] from labels [N], dense features [N, D] and ids [N, H]."""
    bits = np.ascontiguousarray(dense, dtype="<f4").view("<i4")
    return np.concatenate([labels[:, None].astype("<i4"), bits, ids.astype("<i4")], axis=1)


def open_part(root: Path, part: str, *, samples: int, meaning: dict[str, Any]) -> Words:
    """Map one part's records, int32 [N, W], after comparing the set with what is configured.

    Args:
        root: The prepared folder.
        part: "train" or "eval".
        samples: How many records there must be.
        meaning: What the manifest must say: "dense", "rows" and "hots", as they are configured.

    Raises:
        DataError: The set is absent, incomplete or another one.
    """
    recorded = manifest.read(root, "hots", "click records")
    wrong = manifest.differences(root, recorded, {f"{part}_samples": samples, **meaning})
    wrong = wrong or size_faults(root, part, samples, width(meaning["dense"], meaning["hots"]))
    if wrong:
        raise DataError(*wrong)
    return mapped(root, part, width(meaning["dense"], meaning["hots"]))


def size_faults(root: Path, part: str, samples: int, words: int) -> list[str]:
    """A sentence if the file of a part has not the length of so many records of so many words."""
    path = file_of(root, part)
    if not path.is_file():
        return [f"{path} is missing: the set is incomplete; prepare it again"]
    size = path.stat().st_size
    if size == 4 * words * samples:
        return []
    return [
        f"{path} has {size} bytes, and {samples} records of {words} words make"
        f" {4 * words * samples}: the set is incomplete; prepare it again"
    ]


def mapped(root: Path, part: str, words: int) -> Words:
    """The records of a part as they lie on disk, int32 [N, W]."""
    return np.memmap(file_of(root, part), dtype="<i4", mode="r").reshape(-1, words)
