"""Standard streams as a shell may leave them: closed, full, of a reader that went away.

What is shown may fail; what is measured may not. May not import anything heavy: every command
begins here.
"""

import contextlib
import io
import os
import sys

from ttt.errors import ESCAPE, TttError


class UnwritableError(TttError):
    """What is shown cannot be written, as to a full disk."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"the output cannot be written: {error.strerror}")


def prepare() -> None:
    """Open what is closed, as `>&-` does, and let no character fail on its way to a terminal."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdout is None:  # Python found it closed
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115  it is there for good
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPE)


def flush() -> None:
    """Write what is left of stdout here, where the caller can catch an error.

    Raises:
        BrokenPipeError: The reader is gone.
        UnwritableError: It cannot be written.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon()
        raise UnwritableError(error) from error


def abandon() -> None:
    """Discard what is still to come on stdout, whose reader is gone."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
