"""Tables of comma-separated values, plain or packed: their rows, what is missing, and scales.

Shared by the preparers of records; knows no data set.
"""

from __future__ import annotations

import csv
import io
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from ttt.data import bounds
from ttt.data.listing import is_litter, names
from ttt.errors import DataError
from ttt.prepare import unpacking
from ttt.prepare.encoding import not_utf8, without_mark

# How tables say that a value is not known: R writes NA; pandas nothing, or NaN; MySQL \\N.
MISSING = frozenset(
    {"", "NA", "NaN", "nan", "N/A", "n/a", "#N/A", "<NA>", "NULL", "null", "None", "\\N"}
)
_DELIMITERS = ",;\t|"
NOT_KNOWN = "NA"  # what stands for all of them

Floats = npt.NDArray[np.float64]


@contextmanager
def _unpacked(path: Path) -> Iterator[Any]:
    """A table's bytes, plain, packed, or of the one table in a zip archive."""
    if path.suffix == ".zip":
        with unpacking.zip_archive(path) as archive:
            tables = [info for info in archive.infolist() if _is_table(info.filename)]
            if len(tables) != 1:
                there = names([os.fsencode(info.filename) for info in tables]) or "no table"
                raise DataError(f"{path} holds {there}; allowed: one file NAME.csv")
            packed = unpacking.in_zip(archive, tables[0])
            with packed, unpacking.Bounded(packed, path, packed=True) as content:
                yield content
        return
    with unpacking.opened(path, path.suffix) as (content, _):
        yield content


def _is_table(name: str) -> bool:
    parts = name.split("/")
    litter = any(is_litter(os.fsencode(part)) for part in parts)
    return parts[-1].lower().endswith((".csv", ".tsv")) and not litter


def _as_text(file: Any, path: Path) -> TextIO:
    buffered = io.BufferedReader(file)
    without_mark(buffered.peek(4), path)  # "utf-8-sig" drops it
    return io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="")


def rows(path: Path, delimiter: str | None = ",") -> Iterator[list[str]]:
    """The fields of the header and of every row after it; what is missing is `NOT_KNOWN`.

    Args:
        path: The table.
        delimiter: Between fields; None: what the first line has most of.

    Raises:
        DataError: It cannot be read, a line does not end, there are too many columns, or a row has
            more or fewer fields than the header.
    """
    number = 0  # of the last line that could be read
    try:
        with _unpacked(path) as raw:
            text = bounds.lines(_as_text(raw, path), path)
            first = next(text, "")
            between = delimiter or max(_DELIMITERS, key=first.count)
            reader = csv.reader(chain([first], text), delimiter=between)
            header = next(reader, [])
            if len(header) > bounds.COLUMNS:
                raise DataError(
                    f"{path} has {len(header):,} columns by its first line; allowed:"
                    f" {bounds.COLUMNS:,}"
                )
            number = reader.line_num
            yield header
            for fields in reader:
                number = reader.line_num
                if len(fields) == len(header):
                    yield [NOT_KNOWN if text in MISSING else text for text in fields]
                elif fields:  # an empty line is no row
                    raise DataError(
                        f"{path} line {reader.line_num} has {len(fields)} fields; allowed: as many"
                        f" as the header, {len(header)}"
                    )
    except UnicodeDecodeError as error:
        raise not_utf8(path, _undecodable(path), error) from error
    except csv.Error as error:
        raise DataError(_unparsed(path, number + 1, error)) from error
    except unpacking.UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _undecodable(path: Path) -> int:
    """The line, from 1, of the first byte that is not UTF-8: text is decoded blocks ahead."""
    before = 0
    with suppress(*unpacking.UNREADABLE), _unpacked(path) as raw:
        for line in unpacking.lines(raw, path):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                break
            before += 1
    return before + 1


def _unparsed(path: Path, number: int, error: csv.Error) -> str:
    """The error for a row that cannot be read and begins in this line."""
    longest = csv.field_size_limit()
    if "field limit" not in str(error):
        return f"{path}, line {number}: {error}"
    return (
        f"{path}, line {number}: a field has more than {longest} characters, as where a quotation"
        ' mark is never closed; allowed: shorter ones, and "" for a mark within a quoted field; to'
        f" see the line, type sed -n {number}p {shlex.quote(path.name)} | head -c 500"
    )


def standardized(values: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Each feature less its mean over the known samples, by their spread; 0 where it is absent."""
    with np.errstate(over="ignore", invalid="ignore"):  # by numbers near the largest there are
        mean, spread = np.nanmean(values[known], axis=0), np.nanstd(values[known], axis=0)
        scaled: Floats = np.nan_to_num((values - mean) / np.where(spread > 0, spread, 1))
    return scaled
