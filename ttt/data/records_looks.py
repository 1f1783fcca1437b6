"""Finds faults of a set of click records before a run.

The same functions for images are in `ttt.data.looks`, which names their callers. No torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ttt.data import bounds, manifest
from ttt.data.examined import Examined, places
from ttt.data.records import PARTS, Words, file_of, mapped, size_faults, width
from ttt.errors import DataError

_MEANING = ("dense", "rows", "hots")
_SETTINGS = ("train_samples", "eval_samples", *_MEANING)
SETTINGS = ("root", *_SETTINGS)  # that decide what is found here
_ROWS = 1 << 31  # ids are written in 32 bits
_BLOCK = 1 << 16  # records looked at in one place
_QUICK, _MOST = 2, 64  # places in a file: both ends before a run; the doctor's, at even distances


def faults(data: Any) -> list[str]:
    """What is wrong with a set, by its manifest and the sizes of its files.

    Args:
        data: Any object with `root` and the settings of `ttt.data.clicks.Clicks`; those that are
            None are to be counted.
    """
    root = Path(data.root)
    try:
        recorded = _recorded(root)
    except DataError as error:
        return [str(error)]
    wrong = manifest.differences(root, recorded, {name: _asked(data, name) for name in _SETTINGS})
    words = width(recorded["dense"], recorded["hots"])
    for part in PARTS:
        wrong += size_faults(root, part, recorded[f"{part}_samples"], words)
    return wrong


def counts(data: Any) -> dict[str, Any]:
    """The values of settings that the set itself gives.

    Args:
        data: Any object with `root`.

    Raises:
        DataError: It cannot be counted.
    """
    recorded = _recorded(Path(data.root))
    return {name: recorded[name] for name in _SETTINGS}


def examined(data: Any, part: int = 0, parts: int = 1, *, quick: bool = False) -> Examined | None:
    """Look at records for values that cannot be: labels, dense features and ids.

    Args:
        data: Any object with `root`.
        part: Which of the places this process looks at.
        parts: Of how many parts.
        quick: Look at both ends of each file only.

    Returns:
        None if the set has faults, so that ttt cannot know where its records begin.
    """
    root = Path(data.root)
    try:
        recorded = _recorded(root)
    except DataError:
        return None
    words = width(recorded["dense"], recorded["hots"])
    if any(size_faults(root, name, recorded[f"{name}_samples"], words) for name in PARTS):
        return None
    read, bad = 0, []
    for name in PARTS:
        records = mapped(root, name, words)
        for begin in places(len(records), _BLOCK, _QUICK if quick else _MOST)[part::parts]:
            block = records[begin : begin + _BLOCK]
            read += len(block)
            bad += [
                (f"{file_of(root, name)}, record {begin + place},", why)
                for place, why in _strange(block, recorded)
            ]
    return Examined(read, "records", "prepare the set again", bad)


def _asked(data: Any, name: str) -> Any:
    value = getattr(data, name)
    return list(value) if name in ("rows", "hots") and value is not None else value


def _recorded(root: Path) -> dict[str, Any]:
    """The manifest, if it has everything that a set of click records needs.

    Raises:
        DataError: There is none, or it is not that of click records.
    """
    recorded = manifest.read(root, "hots", "click records")
    rows: Any = recorded.get("rows")
    hots: Any = recorded["hots"]
    dense: Any = recorded.get("dense")
    sound = dense == 0 or manifest.is_count(dense, bounds.IDS)
    sound = sound and _numbers(rows, _ROWS) and _numbers(hots, bounds.IDS)
    if not sound or sum(hots) > bounds.IDS:
        raise DataError(
            f"{root / manifest.MANIFEST} needs dense, a number, rows and hots, a list of numbers"
            " each: prepare the set again, or type data.root=DIR"
        )
    if len(rows) != len(hots):
        raise DataError(
            f"{root / manifest.MANIFEST} has {len(rows)} rows and {len(hots)} hots; both must have"
            " one for each categorical feature: prepare the set again"
        )
    return recorded


def _numbers(value: Any, most: int) -> bool:
    return isinstance(value, list) and all(manifest.is_count(one, most) for one in value)


def _strange(records: Words, recorded: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """The first record with each kind of value that cannot be, and what it is."""
    dense = recorded["dense"]
    labels, numbers = records[:, 0], records[:, 1 : 1 + dense].view("<f4")
    ids, rows = records[:, 1 + dense :], np.repeat(recorded["rows"], recorded["hots"])
    if (at := _first((labels != 0) & (labels != 1))) is not None:
        yield at, f"its label is {labels[at]}; allowed: 0 and 1"
    if (at := _first(~np.isfinite(numbers).all(axis=1))) is not None:
        yield at, "a dense feature is no finite number"
    outside = (ids < 0) | (ids >= rows)
    if (at := _first(outside.any(axis=1))) is not None:
        column = int(outside[at].argmax())
        feature = int(np.repeat(np.arange(len(recorded["hots"])), recorded["hots"])[column])
        allowed = recorded["rows"][feature] - 1
        yield at, f"id {ids[at, column]} of feature {feature} is none; allowed: 0 to {allowed}"


def _first(where: npt.ArrayLike) -> int | None:
    """The first place that is true; None if none is."""
    places = np.flatnonzero(where)
    return int(places[0]) if len(places) else None
