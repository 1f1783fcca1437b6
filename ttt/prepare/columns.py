"""The columns of a table in memory: what kind each one is, and its features.

A column is kept as a number a row and the list of its different values, so that a table takes four
bytes a field; what a column is follows from its different values alone.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt.errors import DataError
from ttt.prepare.csv_tables import NOT_KNOWN, Floats, rows, standardized

_OFTEN = 0.01  # share of rows without a value from which on that is a feature of its own
_LARGEST = 10.0  # of a standardized number: one wrong value must not decide all others

Rows = npt.NDArray[np.bool_]


@dataclass(eq=False)
class Column:
    """One column.

    Attributes:
        name: From the header.
        codes: The place of each row's value in `places`.
        places: Each different value, as written, with its place.
    """

    name: str
    codes: array[int] = field(default_factory=lambda: array("i"))
    places: dict[str, int] = field(default_factory=dict)

    def append(self, value: str) -> None:
        """Add the value of one more row."""
        self.codes.append(self.places.setdefault(value, len(self.places)))

    @property
    def values(self) -> list[str]:
        """The different values that are known, as written."""
        return [value for value in self.places if value != NOT_KNOWN]

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """`codes` as an array, [N]."""
        return np.frombuffer(self.codes, dtype=np.int32)

    @property
    def known(self) -> Rows:
        """Which rows have a value, [N]."""
        known: Rows = self.rows != self.places.get(NOT_KNOWN, -1)
        return known

    @cached_property
    def numbers(self) -> Floats | None:
        """Each row as a number [N], NaN where it is not known; None if a value is no number."""
        return self._each(number)

    @cached_property
    def times(self) -> Floats | None:
        """Each row as seconds since 1970 [N], NaN where it is not known; None if one is no time."""
        return self._each(_seconds)

    def _each(self, read: Callable[[str], float | None]) -> Floats | None:
        values = [math.nan if text == NOT_KNOWN else read(text) for text in self.places]
        if None in values or not self.values:
            return None
        return np.array(values, dtype=np.float64)[self.rows]

    def useless(self) -> str | None:
        """Why this column can be no feature; None if it can."""
        different = len(self.values)
        if not different:
            return "it has no values"
        if len(self.places) == 1:
            return "it is the same in every row"
        if self.numbers is not None:
            steps = np.diff(np.sort(self.numbers))
            return "it numbers the rows" if len(steps) > 1 and (steps == 1).all() else None
        if self.times is not None:
            return "it is a time; --time splits by it"
        if different > 1 and different == int(self.known.sum()):
            return "it is another text in every row"
        return None


def read(paths: Sequence[Path], delimiter: str | None) -> dict[str, Column]:
    """The columns of one table, in one file or several with the same header.

    Args:
        paths: Its files.
        delimiter: Between fields; None: what the header has most of.

    Raises:
        DataError: A file cannot be read, or is no such table.
    """
    columns: dict[str, Column] = {}
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"--src {path} is not a file; allowed: tables NAME.csv, plain or packed"
            )
        table = rows(path, delimiter)
        header = [name.strip() or f"column {i}" for i, name in enumerate(next(table), start=1)]
        if len(header) < 2:
            raise DataError(f"{path} has {len(header)} columns by its first line; --delimiter CHAR")
        if twice := sorted({name for name in header if header.count(name) > 1}):
            raise DataError(f"{path} has several columns {', '.join(twice)}; rename them")
        columns = columns or {name: Column(name) for name in header}
        if header != list(columns):
            raise DataError(f"{path} and {paths[0]} have different columns; one table only")
        appending = [column.append for column in columns.values()]
        for fields in table:
            for append, text in zip(appending, fields, strict=True):
                append(text)
    return columns


def numeric(columns: Sequence[Column], known: Rows, train: Rows) -> tuple[Floats, list[str]]:
    """Dense features [N, D] of some rows, and what each one is.

    A number is standardized by the training rows. Where it is not known it becomes 0, their mean;
    if that is often so there, a feature beside it says where.

    Args:
        columns: Of numbers.
        known: Which rows of the table are used, N of them.
        train: Which of those are for training, [N].
    """
    features: list[Floats] = []
    names: list[str] = []
    for column in columns:
        assert column.numbers is not None
        values = column.numbers[known]
        absent = np.isnan(values)
        if absent[train].all():
            continue
        features.append(standardized(values[:, None], train).clip(-_LARGEST, _LARGEST)[:, 0])
        names.append(column.name)
        if absent[train].mean() >= _OFTEN:
            features.append(absent.astype(np.float64))
            names.append(f"{column.name} is missing")
    return np.column_stack(features or [np.zeros(len(train))]), names or ["nothing"]


def ranked(column: Column, known: Rows) -> npt.NDArray[np.int64]:
    """The place of each row's value among all values in sorted order, [N]."""
    order = np.argsort(np.array(list(column.places), dtype=object))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    places: npt.NDArray[np.int64] = ranks[column.rows[known]]
    return places


def number(text: str) -> float | None:
    """A finite number, as people write it; None if it is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _seconds(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp()


def names(columns: Iterable[Column]) -> str:
    """Their names, for people."""
    return ", ".join(column.name for column in columns) or "none"
