"""Reading files of sentences, line by line, two languages side by side; and saying what is wrong.

It knows plain and gzipped text, and nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from ttt.errors import DataError
from ttt.prepare import unpacking
from ttt.prepare.encoding import not_utf8, without_mark

Pairs = Iterator[tuple[str, str]]
T = TypeVar("T", str, tuple[str, str])

Reading = Callable[[int], None]  # bytes of a file, as it lies on disk, read since the last call


class Pair(NamedTuple):
    """Two files, line by line translations of each other."""

    source: Path
    target: Path


def ignore(size: int) -> None:
    """Ignores how much was read."""


def lines(path: Path, reading: Reading = ignore) -> Iterator[str]:
    """The lines of a UTF-8 file, plain or .gz, without surrounding space; see `whole_lines`."""
    return (line.strip() for line in whole_lines(path, reading))


def whole_lines(path: Path, reading: Reading = ignore) -> Iterator[str]:
    r"""The lines of a UTF-8 file, plain or .gz, as they are.

    Only "\n" ends a line. Corpora gathered from web pages hold other characters that Python would
    split at, such as U+2028, in one language and not in the other.

    Raises:
        DataError: The file is absent, damaged, not UTF-8 or without line ends.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file; --src FILES")
    number = 0
    try:
        suffix = ".gz" if path.suffix == ".gz" else ""
        with unpacking.opened(path, suffix) as (content, raw):
            before = 0
            for number, line in enumerate(unpacking.lines(content, path), start=1):
                yield (line if number > 1 else without_mark(line, path)).decode()
                if number % 1000 == 0:
                    reading(raw.tell() - before)
                    before = raw.tell()
            reading(raw.tell() - before)
    except UnicodeDecodeError as error:
        raise not_utf8(path, number, error) from error
    except unpacking.UNREADABLE as error:
        raise DataError(f"{path} cannot be unpacked after line {number}: {error}") from error


def chunks(texts: Iterable[T], most: int, characters: int) -> Iterator[list[T]]:
    """Texts, or tuples of texts, some at a time, so that memory is bounded.

    Args:
        texts: What to divide.
        most: How many a chunk has.
        characters: About how many characters it has at most.
    """
    chunk: list[T] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text) if isinstance(text, str) else sum(map(len, text))
        if len(chunk) == most or size >= characters:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def sentences(pair: Pair, reading: Reading = ignore) -> Pairs:
    """The lines of both files, side by side.

    Raises:
        DataError: A file is absent, empty, damaged or not UTF-8, or one has more lines.
    """
    sides = [lines(path, reading) for path in pair]
    count = 0
    for ours, theirs in zip_longest(*sides):
        if ours is None or theirs is None:
            _misaligned(pair, sides, count, longer=0 if theirs is None else 1)
        yield ours, theirs
        count += 1
    if not count:
        raise DataError(f"{pair.source} and {pair.target} are empty; --src FILES with sentences")


def tabbed(path: Path, columns: Sequence[int], reading: Reading = ignore) -> Pairs:
    """Two columns, counted from 1, of a file whose columns are parted by tabs; no header.

    Raises:
        DataError: The file is absent, empty, damaged or not UTF-8, or a line has fewer columns.
    """
    number = 0
    for number, line in enumerate(whole_lines(path, reading), start=1):
        fields = line.split("\t")
        if len(fields) < max(columns):
            if not line.strip():
                continue
            raise DataError(
                f"{path}, line {number} has {len(fields)} columns; allowed: at least"
                f" {max(columns)}, parted by tabs; --columns SOURCE TARGET says which are read"
            )
        ours, theirs = (fields[column - 1].strip() for column in columns)
        yield ours, theirs
    if not number:
        raise DataError(f"{path} is empty; give a file with sentences")


def _misaligned(pair: Pair, sides: list[Iterator[str]], count: int, *, longer: int) -> NoReturn:
    """One file has ended: count what is left of the other, of which a line is read already."""
    counts = [count, count]
    counts[longer] += 1 + sum(1 for _ in sides[longer])
    raise DataError(
        f"{pair.source} has {counts[0]} lines and {pair.target} has {counts[1]}: they cannot be"
        " translations of each other; allowed: files with equally many lines"
    )
