"""All limits for reading data sets that others made: bytes, lines, columns, files, pixels.

A file of a few kilobytes can claim to be a terabyte, or become one when it is unpacked. So every
reader of foreign data takes its limits from here. Each limit is far above the real sets named
beside it: a file beyond it is damaged, or made to do harm. If ttt knows the files of a set, the
preparer of the set has narrower limits.

Only regular files are opened, and opening never waits: a pipe may never answer, and some devices
have no end. No torch, and no NumPy: a login node and the doctor read by the same rules.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr, BinaryIO

from ttt import foreign
from ttt.errors import DataError

LINE = 1 << 20  # bytes of a line of text; sentences of WMT have some 10 kB, wide tables 200 kB
COLUMNS = 1 << 16  # of a table; the widest in genomics have about 20,000
SAMPLES = 1 << 40  # of a part; Criteo's days have 4.2e9
IDS = 1 << 20  # a sample may have of all features together; dlrm_dcnv2 has 214
INDEX = 1 << 29  # bytes of the index of a shard; all of ImageNet in one file makes 30 MB
MODEL = 1 << 26  # bytes of a sentencepiece model; one of 256,000 tokens has 4 MB
TEXT = 1 << 30  # bytes of the sentences to be judged by; newstest2014 has 500 kB
IMAGE = 1 << 30  # bytes of an encoded image; the largest of ImageNet has 16 MB
PIXELS = 89_478_485  # of an image: above that Pillow, too, sees a bomb; 256 MB when decoded
DEPTH = 32  # folders within folders; a set of images has three
FILES = 1 << 25  # in an archive, of any kind; ImageNet's larger sister has 14 million images
# What is packed may grow so many times, and a small one to so many bytes in any case. Text becomes
# five to ten times as long, the worst tables a hundred times, and a bomb 1,000 times and more.
RATIO = 100
GROWN = 1 << 28


def opened(path: Path) -> BinaryIO:
    """A regular file, for reading.

    Raises:
        OSError: It cannot be opened.
        DataError: It is a pipe, a socket, a device or a folder.
    """
    try:
        return open(path, "rb", opener=foreign.of_any_size)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.EISDIR):
            raise DataError(f"{path} is no regular file; give a file") from error
        raise


def whole(path: Path, most: int) -> bytes:
    """All of a regular file.

    Args:
        path: The file.
        most: Bytes it may have.

    Raises:
        OSError: It cannot be read.
        DataError: It is no regular file, or larger.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(most + 1) if size <= most else b""
    if max(size, len(content)) > most:
        raise DataError(
            f"{path} has {size:,} bytes; allowed: {most:,} at most, many times what a real one has"
        )
    return content


def lines(file: IO[AnyStr], path: Path) -> Iterator[AnyStr]:
    """The lines of an open file, each with at most `LINE` bytes or characters.

    Raises:
        DataError: A line does not end.
    """
    number = 0
    while line := file.readline(LINE + 1):
        number += 1
        if len(line) > LINE:
            raise too_long(path, number)
        yield line


def too_long(path: Path, number: int, most: int = LINE) -> DataError:
    """The error for a line, counted from 1, with more than `most` bytes or characters."""
    return DataError(
        f"{path}, line {number} is longer than {most}; allowed: lines that end. Is it text, with"
        " line ends as Unix and Windows have them?"
    )


def too_many_pixels(width: int, height: int) -> str | None:
    """Why an image of this size is not decoded; None if it is."""
    if width * height <= PIXELS:
        return None
    return f"it has {width} x {height} pixels; allowed: {PIXELS:,} in all; scale it down"
