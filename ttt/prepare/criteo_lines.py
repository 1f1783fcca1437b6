"""Criteo's click logs as text: lines of a label, 13 integers and 26 hexadecimal words, by tabs.

A block of text is parsed as a whole, every field at once, because there are four billion lines. It
knows neither where the values go nor what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ttt.data import bounds
from ttt.errors import DataError
from ttt.prepare import unpacking
from ttt.prepare.encoding import without_mark

NUMBERS, CATEGORIES = 13, 26
FIELDS = 1 + NUMBERS + CATEGORIES
BLOCK = 1 << 18  # bytes of text parsed at a time: what comes of them stays in a core's cache

_TAB, _NEWLINE, _MINUS = b"\t\n-"
_BAD = 255
_DIGITS = np.full(256, _BAD, np.uint8)  # what a character counts, in base 10 or 16
_DIGITS[list(b"0123456789")] = np.arange(10)
_DIGITS[list(b"abcdef")] = _DIGITS[list(b"ABCDEF")] = np.arange(10, 16)

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


class Lines(NamedTuple):
    """Some lines of a day, in their order. What is empty in the file is 0.

    Attributes:
        labels: 1 where there was a click, uint8 [N].
        numbers: int32 [N, NUMBERS].
        categories: uint32 [N, CATEGORIES].
    """

    labels: npt.NDArray[np.uint8]
    numbers: npt.NDArray[np.int32]
    categories: npt.NDArray[np.uint32]


class Fields(NamedTuple):
    """Where fields lie in a block of text.

    Attributes:
        text: The block.
        starts: First character of each field, int64 [N, ...].
        lengths: Characters of each field, int64 [N, ...].
        first: Number of the first line, from 1.
    """

    text: Bytes
    starts: Ints
    lengths: Ints
    first: int

    def part(self, first: int, last: int) -> Fields:
        """The fields of these columns."""
        return self._replace(starts=self.starts[:, first:last], lengths=self.lengths[:, first:last])


def read_lines(path: Path, reading: Callable[[int], None]) -> Iterator[Lines]:
    """The lines of a file, plain or .gz, a block at a time.

    Args:
        path: A day.
        reading: Called with the bytes of the file that were read since its last call.

    Raises:
        DataError: It cannot be read, or a line is broken; the sentence names file and line.
    """
    done, first, rest = 0, 1, b""
    try:
        suffix = ".gz" if path.suffix == ".gz" else ""
        with unpacking.opened(path, suffix) as (file, raw):
            while block := file.read(BLOCK):
                block = block if done else without_mark(block, path)
                text, newline, rest = (rest + block).rpartition(b"\n")
                if newline:
                    lines = parse(text + newline, path, first)
                    first += len(lines.labels)
                    yield lines
                elif len(rest) > BLOCK:  # a line has 450 at most
                    raise bounds.too_long(path, first, BLOCK)
                reading(raw.tell() - done)
                done = raw.tell()
    except unpacking.UNREADABLE as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if rest:
        yield parse(rest + b"\n", path, first)


def parse(block: bytes, path: Path, first: int) -> Lines:
    """The values of some whole lines.

    Args:
        block: Text that ends with a newline.
        path: Where it is from, for the error.
        first: Number of its first line, from 1.

    Raises:
        DataError: A line has another number of fields, or a field that is no number.
    """
    text = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero((text == _TAB) | (text == _NEWLINE))
    fields = np.diff(np.flatnonzero(text[ends] == _NEWLINE), prepend=-1)
    if wrong := np.flatnonzero(fields != FIELDS)[:1].tolist():
        raise DataError(
            f"{path} line {first + wrong[0]} has {fields[wrong[0]]} fields; allowed: {FIELDS}, a"
            f" label, {NUMBERS} integers and {CATEGORIES} hexadecimal words with a tab between"
        )
    starts = np.concatenate([[0], ends[:-1] + 1])
    whole = Fields(text, starts.reshape(-1, FIELDS), (ends - starts).reshape(-1, FIELDS), first)
    labels = _integers(whole.part(0, 1), path)
    _refuse(whole.part(0, 1), path, (labels < 0) | (labels > 1), "a label, 0 or 1")
    return Lines(
        labels[:, 0].astype(np.uint8),
        _integers(whole.part(1, 1 + NUMBERS), path).astype(np.int32),
        _words(whole.part(1 + NUMBERS, FIELDS), path).astype(np.uint32),
    )


def _integers(fields: Fields, path: Path) -> Ints:
    """Decimal numbers of 32 bits."""
    minus = (fields.lengths > 0) & (fields.text[fields.starts] == _MINUS)
    digits = fields._replace(starts=fields.starts + minus, lengths=fields.lengths - minus)
    values, bad = _decode(digits, base=10, longest=10)
    values = np.where(minus, -values, values)
    bad |= (minus & (digits.lengths == 0)) | (values != values.astype(np.int32))
    _refuse(fields, path, bad, "an integer of 32 bits or nothing")
    return values


def _words(fields: Fields, path: Path) -> Ints:
    """Hexadecimal words of 32 bits."""
    values, bad = _decode(fields, base=16, longest=8)
    _refuse(fields, path, bad, "a hexadecimal word of up to 8 digits or nothing")
    return values


def _decode(fields: Fields, *, base: int, longest: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Unsigned numbers, and which of them are none or too long."""
    values = np.zeros(fields.starts.shape, np.int64)
    bad = fields.lengths > longest
    for place in range(min(longest, fields.lengths.max())):
        inside = fields.lengths > place
        digits = _DIGITS[fields.text[np.where(inside, fields.starts + place, 0)]]
        bad |= inside & (digits >= base)
        values = np.where(inside, values * base + digits, values)
    return values, bad


def _refuse(fields: Fields, path: Path, bad: npt.NDArray[np.bool_], allowed: str) -> None:
    """Name the first bad field, if there is one.

    Raises:
        DataError: There is.
    """
    for row, column in np.argwhere(bad)[:1]:
        start = fields.starts[row, column]
        found = fields.text[start : start + fields.lengths[row, column]].tobytes()
        raise DataError(
            f"{path} line {fields.first + row} has {found.decode(errors='replace')!r}; allowed:"
            f" {allowed}"
        )
