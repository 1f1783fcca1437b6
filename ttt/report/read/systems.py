"""What follows from the place of a log: its system.

A submission to MLPerf is a tree (training_policies, submission_rules.adoc): logs in
`results/<system>/<benchmark>/`, of HPC in `results/<system>/{strong,weak}/<benchmark>/`, and the
system in `systems/<system>.json` beside `results`.
May not know what is in a log.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ttt import foreign
from ttt.foreign import ForeignError

_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_ABSENT = ("n/a", "na", "none", "-", "--")
_AMOUNT = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([KMGT]?i?B)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log lies.

    Attributes:
        system: Name of the systems file; None outside of a submission's tree.
        description: The content of that file, of any types.
        problem: Why there is no description although there should be.
        tree: The submitter's folder, with `results` in it; None outside of one.
    """

    system: str | None = None
    description: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    tree: Path | None = None


def place_of(log: Path) -> Place:
    """Where a log lies; links are not followed, as a tree may be built of them."""
    return _place(Path(os.path.abspath(log)).parent)


@lru_cache(maxsize=1024)
def _place(folder: Path) -> Place:
    above = [folder, *folder.parents]
    results = next((each for each in above if each.name == "results"), None)
    if results in (None, folder):
        return Place()
    system = folder.relative_to(results).parts[0]
    file = results.parent / "systems" / f"{system}.json"
    try:
        return Place(system, foreign.mapping(file, inside=results.parent), tree=results.parent)
    except ForeignError as error:
        return Place(system, problem=error.sentence, tree=results.parent)


def whole(value: Any) -> int | None:
    """A count, which systems files have as number or as text; None of anything else."""
    if type(value) is int:
        return value if 0 <= value < 2**64 else None
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return int(value)
    return None


def text(value: Any) -> str | None:
    """Text that is not blank."""
    return value.strip() or None if isinstance(value, str) else None


def model(value: Any) -> str | None:
    """The name of a part; None where the text means that there is none."""
    name = text(value)
    return None if name is None or name.lower() in _ABSENT else name


def amount(value: Any) -> int | None:
    """Bytes of an amount of memory, as in "81559 MiB" or "80GB"; None of any other text."""
    match = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
    return round(float(match[1]) * _UNITS[match[2].upper()]) if match else None
