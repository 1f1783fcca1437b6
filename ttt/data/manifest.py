"""Reads manifest.json, in which `ttt data` describes a prepared set, and compares settings with it.

Knows JSON and settings, not what they mean. No torch: `ttt run` asks before any process starts.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttt import foreign
from ttt.data import bounds
from ttt.errors import DataError, fault
from ttt.foreign import ForeignError
from ttt.run_folder import RunFolder

MANIFEST = "manifest.json"
_PARTS = ("train", "eval")


def read(root: Path, needs: str, what: str) -> dict[str, Any]:
    """The manifest of a prepared set; its counts also as train_samples and eval_samples.

    Args:
        root: The prepared folder.
        needs: What the manifest of such a set has and no other one.
        what: Such a set, for people.

    Raises:
        DataError: There is none, it is damaged, or the set is of another kind.
    """
    path = root / MANIFEST
    if not path.is_file():
        why = f"holds no {MANIFEST}: prepare the data set with `ttt data`"
        raise DataError(fault("data.root", root, why, typed="DIR"))
    recorded = content(path)
    counts = recorded.get("counts")
    whole = isinstance(counts, dict) and all(
        is_count(counts.get(part), bounds.SAMPLES) for part in _PARTS
    )
    if not isinstance(counts, dict) or not whole or needs not in recorded:
        raise DataError(f"{path} is not that of {what}; type data.root=DIR")
    return recorded | {f"{part}_samples": counts[part] for part in _PARTS}


def content(path: Path) -> dict[str, Any]:
    """What a manifest says.

    Raises:
        DataError: It cannot be read, or is no JSON object.
    """
    try:
        return foreign.mapping(path)
    except ForeignError as error:
        raise DataError(f"{error}: prepare the set again, or type data.root=DIR") from error


def keep(root: str, folder: Path) -> None:
    """Copy the manifest of a run's data set into its run folder, without the sources of its files.

    So `ttt package` need not read the folder that the configuration names. If the set has no
    readable manifest, nothing is copied.
    """
    with contextlib.suppress(ForeignError):
        recorded = foreign.mapping(Path(root) / MANIFEST) if root else {}
        recorded.pop("source", None)
        if recorded:
            RunFolder(folder).manifest.write_text(json.dumps(recorded) + "\n")


def is_count(value: Any, most: int) -> bool:
    """Whether a value of a manifest is a whole number from 1 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def differences(root: Path, recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """One sentence on all settings that differ from the prepared set; none if all agree.

    Args:
        root: The prepared folder.
        recorded: Its manifest, as `read` gives it.
        asked: Settings of `data`, by name; those that are None are to be counted.
    """
    wrong = {
        name: (recorded.get(name), value)
        for name, value in asked.items()
        if value is not None and recorded.get(name) != value
    }
    if not wrong:
        return []
    says = " and ".join(f"{name}={typed(there)}" for name, (there, _) in wrong.items())
    but = " and ".join(f"data.{name}={typed(value)}" for name, (_, value) in wrong.items())
    to_type = " ".join(f"data.{name}={typed(there)}" for name, (there, _) in wrong.items())
    return [f"{root / MANIFEST} says {says}, but {but}: prepare the set again, or type {to_type}"]


def typed(value: Any) -> str:
    """A value as it is typed: lists without spaces."""
    return "null" if value is None else str(value).replace(" ", "")
