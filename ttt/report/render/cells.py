"""A table as text and what to sort it by; the forms draw it. Pure; knows nothing of runs.

A column in which nothing is known is left out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ttt.errors import one_line
from ttt.report.analyze.format import UNKNOWN, number, percent, significant

T = TypeVar("T")
Key = float | str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown and what it sorts by; `key` is None for unknown."""

    text: str
    key: Key


@dataclass(frozen=True, slots=True)
class Head:
    """A column.

    Attributes:
        text: Its title.
        right: Whether it holds numbers, which line up at the right.
        wide: Whether a narrow terminal can do without it.
        brief: A shorter title for that; None if it is short.
        page: Whether it is too long for any terminal.
    """

    text: str
    right: bool = True
    wide: bool = False
    brief: str | None = None
    page: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; every row has a cell for each head."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]


Column = tuple[Head, Callable[[T], Cell]]


def grid(items: Iterable[T], columns: Sequence[Column[T]]) -> Grid:
    """A row for each item."""
    rows = [[cell(item) for _, cell in columns] for item in items]
    known = [any(row[place].key is not None for row in rows) for place in range(len(columns))]
    return Grid(
        tuple(head for (head, _), keep in zip(columns, known, strict=True) if keep),
        tuple(tuple(cell for cell, keep in zip(row, known, strict=True) if keep) for row in rows),
    )


def in_words(value: str | None) -> Cell:
    """Text from anywhere."""
    text = None if value is None else one_line(value)
    return Cell(text or UNKNOWN, text or None)


def in_figures(value: float | None, form: str = ",.4g") -> Cell:
    """A number in the given format."""
    return Cell(number(value, form), value)


def in_money(value: float | None) -> Cell:
    """A sum, without its currency."""
    return in_figures(value, ",.2f" if value is None or value >= 1 else ".2g")


def in_percent(value: float | None) -> Cell:
    """A share."""
    return Cell(percent(value), value)


def in_digits(value: float | None, digits: int = 3) -> Cell:
    """A number with so many significant digits."""
    return Cell(significant(value, digits), value)
