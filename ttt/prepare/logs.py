"""How a click log comes to be on disk: records, ids numbered from a vocabulary, a manifest.

Shared by the preparers of click logs; knows records and hashes, not where clicks come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ttt.data.manifest import MANIFEST
from ttt.data.records import PARTS, Words, file_of
from ttt.prepare.folder import file_hash


def numbered(
    values: npt.NDArray[Any], known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int32], int]:
    """Ids from the vocabulary of the known samples, and how many ids there are.

    Ids from 1 on are the distinct known values in sorted order; 0 is any other value, so that
    nothing of the evaluation set, not even what occurs in it, enters training.

    Args:
        values: One value a sample, [N], of any type that sorts.
        known: Which samples are for training, [N].
    """
    vocabulary = np.unique(values[known])
    places = np.searchsorted(vocabulary, values).clip(max=len(vocabulary) - 1)
    ids = np.where(vocabulary[places] == values, places + 1, 0)
    return ids.astype(np.int32), len(vocabulary) + 1


def write_parts(folder: Path, parts: Mapping[str, Words]) -> None:
    """Write the records of a set that fits in memory."""
    for part in PARTS:
        parts[part].tofile(file_of(folder, part))


def write_manifest(
    folder: Path,
    source: Any,
    *,
    counts: Mapping[str, int],
    dense: int,
    rows: Sequence[int],
    hots: Sequence[int],
    **more: Any,
) -> None:
    """Record where a set came from, how to read it, and a hash of each of its files.

    Args:
        folder: Where the records lie.
        source: What it was made from, JSON-able.
        counts: Samples in "train" and in "eval".
        dense: Dense features of a sample.
        rows: Ids each categorical feature may have.
        hots: Ids a sample has of each.
        more: What else is worth knowing of this set.
    """
    fields = {
        "source": source,
        "counts": dict(counts),
        "dense": dense,
        "rows": [int(count) for count in rows],
        "hots": list(hots),
        **more,
        "sha256": {file_of(folder, part).name: file_hash(file_of(folder, part)) for part in PARTS},
    }
    (folder / MANIFEST).write_text(json.dumps(fields, indent=2) + "\n")
