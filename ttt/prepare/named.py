"""What is wrong with the files and the numbers that the options of a set name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ttt.errors import fault


def text_problems(paths: Sequence[Path]) -> list[str]:
    """A sentence for each file of text that is not there, and for each that is named twice."""
    every = dict.fromkeys(paths)
    absent = [path for path in every if not path.is_file()]
    again = [path for path in every if paths.count(path) > 1]
    return [
        *(f"{path} is not a file; allowed: text, plain or .gz" for path in absent),
        *(f"{path} is named twice; name each file once" for path in again),
    ]


def count_problems(counts: Mapping[str, tuple[int | None, int]]) -> list[str]:
    """A sentence for each number that is not above 0.

    Args:
        counts: For each option, the number given, if any, and a usual one.
    """
    return [
        fault(option, value, allowed="above 0", typed=str(usual))
        for option, (value, usual) in counts.items()
        if value is not None and value < 1
    ]
