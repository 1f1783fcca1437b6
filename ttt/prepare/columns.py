"""The columns of a table in memory: what kind each one is, and its features.

A column is kept as a number a row and the list of its different values, so that a table takes four
bytes a field. What a column is follows from its different values alone.
"""

from __future__ import annotations

import math
import shlex
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt.errors import DataError, fault
from ttt.prepare.csv_tables import MISSING, NOT_KNOWN, Floats, rows, standardized

_LEAST = 4  # rows: two of each kind of label
_OFTEN = 0.01  # share of rows without a value from which on that is a feature of its own
_MOSTLY = 0.5  # share of numbers from which on other texts in a column are likely mistakes
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

    @cached_property
    def odd(self) -> list[str]:
        """The values that are no finite numbers, if most rows have one; else none."""
        odd = [value for value in self.values if number(value) is None]
        rows = int(self.known.sum())
        return odd if odd and rows - self.count(odd) >= _MOSTLY * rows else []

    def count(self, values: Sequence[str]) -> int:
        """How many rows have one of these values."""
        return int(np.isin(self.rows, [self.places[value] for value in values]).sum())

    def oddness(self) -> str:
        """A sentence on the values that are no numbers, in a column of mostly numbers."""
        count, first = self.count(self.odd), self.odd[0]
        row = int(np.argmax(self.rows == self.places[first])) + 1
        others = int(self.known.sum()) - count
        what = f"{first!r:.40} in row {row} below the header is no finite number"
        more = f" (the first of {count} such rows)" if count > 1 else ""
        return f"{what}{more}; {others} others are"

    def without_odd(self) -> Column:
        """The same where `odd` is not known."""
        texts = [NOT_KNOWN if text in set(self.odd) else text for text in self.places]
        column = Column(self.name)
        for code in self.codes:
            column.append(texts[code])
        return column

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
            return self._useless_numbers(self.numbers)
        if self.times is not None:
            return "it is a time; --time splits by it"
        return self._useless_texts() if different == int(self.known.sum()) > 1 else None

    def _useless_texts(self) -> str:
        """Of a column with another value in every row, of which some are no number."""
        if not self.odd:
            return "it is another text in every row"
        typed = f"--numeric {shlex.quote(self.name)}"
        return f"{self.oddness()}; to take what is none as missing, type {typed}"

    def _useless_numbers(self, numbers: Floats) -> str | None:
        steps = np.diff(np.sort(numbers))
        if len(self.values) > 1 and not steps.any():
            return (
                f"its {len(self.values)} different numbers are one at 64 bits; take off what they"
                " share"
            )
        return "it numbers the rows" if len(steps) > 1 and (steps == 1).all() else None


def read(paths: Sequence[Path], delimiter: str | None) -> dict[str, Column]:
    """The columns of one table, in one file or several with the same header.

    Args:
        paths: Its files.
        delimiter: Between fields; None: what the header has most of.

    Raises:
        DataError: A file cannot be read, or is no such table.
    """
    columns: dict[str, Column] = {}
    count = 0
    for path in paths:
        if not path.is_file():
            allowed = "tables NAME.csv, plain or packed"
            raise DataError(fault("--src", path, "is not a file", allowed=allowed))
        table = rows(path, delimiter)
        header = [name.strip() or f"column {i}" for i, name in enumerate(next(table), start=1)]
        if len(header) < 2:
            raise DataError(f"{path} has {len(header)} columns by its first line; --delimiter CHAR")
        if twice := sorted(name for name, times in Counter(header).items() if times > 1):
            raise DataError(f"{path} has several columns {', '.join(twice)}; rename them")
        columns = columns or {name: Column(name) for name in header}
        if header != list(columns):
            raise DataError(f"{path} and {paths[0]} have different columns; one table only")
        appending = [column.append for column in columns.values()]
        for fields in table:
            for append, text in zip(appending, map(str.strip, fields), strict=True):
                append(NOT_KNOWN if text in MISSING else text)
            count += 1
    if count < _LEAST:
        many = {0: "no rows", 1: "one row"}.get(count, f"{count} rows")
        raise DataError(
            f"{', '.join(map(str, paths))} has {many} below the header; allowed: {_LEAST} at least,"
            " two of each kind of label"
        )
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


def merged(column: Column, known: Rows, feature: npt.NDArray[np.float32]) -> str | None:
    """A remark where scaling made most numbers of a column the same; None elsewhere.

    Args:
        column: Of numbers.
        known: Which rows of the table are used, N of them.
        feature: What was made of it, [N].
    """
    assert column.numbers is not None
    values = column.numbers[known]
    there = ~np.isnan(values)
    before, after = len(np.unique(values[there])), len(np.unique(feature[there]))
    if 2 * after > before:
        return None
    least, most = np.nanmin(values), np.nanmax(values)
    return (
        f"{column.name}: of its {before} different numbers, {least:g} to {most:g}, scaling leaves"
        f" {after}; correct those far from the others, or --leave-out {shlex.quote(column.name)}"
    )


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
