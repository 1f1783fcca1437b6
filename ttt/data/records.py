"""Click logs on disk: a file of equal records a part, and a manifest that says how to read them.

A record is 1 + D + H words of 32 bits, little-endian: the label, D dense features as fp32 bits, H
ids side by side, feature after feature. One record lies in one place, so that a batch is one read
and one copy to the device whatever its order. NumPy only: preparers and loaders share this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ttt.errors import DataError

MANIFEST = "manifest.json"
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
    manifest, path = root / MANIFEST, file_of(root, part)
    if not manifest.is_file():
        raise DataError(
            f"data.root={root} holds no {MANIFEST}: prepare the data set with `ttt data`,"
            " or type data.root=DIR"
        )
    said = json.loads(manifest.read_bytes())
    said |= {f"{name}_samples": count for name, count in said.get("counts", {}).items()}
    for name, value in {f"{part}_samples": samples, **meaning}.items():
        if said.get(name) != value:
            raise DataError(
                f"{manifest} says {name} {_typed(said.get(name))}, but data.{name}="
                f"{_typed(value)}: prepare the set again, or type"
                f" data.{name}={_typed(said.get(name))}"
            )
    words = width(meaning["dense"], meaning["hots"])
    size = path.stat().st_size if path.is_file() else 0
    if size != 4 * words * samples:
        raise DataError(
            f"{path} has {size} bytes, and {samples} records of {words} words make"
            f" {4 * words * samples}: the set is incomplete; prepare it again"
        )
    return np.memmap(path, dtype="<i4", mode="r", shape=(samples, words))


def faults(data: Any) -> list[str]:
    """What is wrong with a set, as its manifest and its files' sizes tell, before a run starts.

    Args:
        data: Any object with `root` and the settings of `ttt.data.clicks.Clicks`.
    """
    meaning = {"dense": data.dense, "rows": list(data.rows), "hots": list(data.hots)}
    found: dict[str, None] = {}  # in order; each fault of the manifest once
    for part in PARTS:
        try:
            samples = getattr(data, f"{part}_samples")
            open_part(Path(data.root), part, samples=samples, meaning=meaning)
        except DataError as error:
            found[str(error)] = None
    return list(found)


def _typed(value: Any) -> str:
    """A value as it is typed: lists without spaces."""
    return str(value).replace(" ", "")
