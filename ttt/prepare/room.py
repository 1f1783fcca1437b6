"""Whether there is room for what a preparation writes, before and while it writes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ttt.data.listing import walk
from ttt.errors import DataError

RESERVE = 1 << 26  # bytes left to other programs
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def free(folder: Path) -> int:
    """Bytes that may still be written where a folder lies, or will lie."""
    near = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    return max(0, shutil.disk_usage(near).free - RESERVE)


def need(folder: Path, size: int) -> None:
    """Refuse to begin a preparation for which there is no room.

    Args:
        folder: Where it is to be.
        size: Bytes it takes, more or less.

    Raises:
        DataError: There are not so many.
    """
    there = free(folder)
    if size > there:
        raise DataError(
            f"{folder} would take about {size / 1e9:,.1f} GB, and {there / 1e9:,.1f} GB are free"
            " there: make room, or type --out DIR on a larger disk"
        )


def used(folder: Path) -> int:
    """Bytes of the files in a folder that is being filled."""
    inside = walk(os.fsencode(folder))
    return sum(
        os.lstat(os.path.join(at, name)).st_size for at, _, files in inside for name in files
    )


def is_full(error: BaseException) -> bool:
    """Whether an error is that of a full disk."""
    if not isinstance(error, OSError):
        return False
    # NumPy's own says no more than "1024 requested and 96 written".
    return error.errno in _FULL or (error.errno is None and " requested and " in str(error))


@contextmanager
def reporting_full(out: Path) -> Iterator[None]:
    """Turn the error of a full disk into a sentence about it.

    Raises:
        DataError: The disk is full.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise DataError(
            f"no room is left to write {out} ({error}): make some, or type --out DIR on a larger"
            " disk"
        ) from error
