"""Standard streams as a shell may leave them: closed, full, of a reader that went away.

What is shown may fail; what is measured, written and returned may not. So a standard stream that
fails is silent from then on, and the command says so when it has done its work. May not import
anything heavy: every command begins here.
"""

import contextlib
import io
import os
import sys
from typing import Any, TextIO, cast

from ttt.errors import BROKEN_PIPE, ESCAPE, OK, UNFORESEEN, TttError, show


class UnwritableError(TttError):
    """What is shown cannot be written, as to a full disk."""

    def __init__(self, error: OSError) -> None:
        where = f" ({error.filename})" if error.filename else ""
        super().__init__(f"the output cannot be written: {error.strerror}{where}")


class _Outlet:
    """A stream that keeps its first failure and discards what would follow.

    Neither rich, Hydra, argparse nor logging see the failure: each would make something else of it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        self.forgiven = False

    def write(self, text: str) -> int:
        """Write it, if that can be done."""
        if self.failure is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, if that can be done."""
        if self.failure is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.failure = error
        with contextlib.suppress(OSError, ValueError):  # what is buffered, and what children write
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def prepare() -> None:
    """Open what is closed, as `>&-` does, and let nothing fail on its way to a terminal."""
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
    sys.stdout, sys.stderr = _outlet(sys.stdout), _outlet(sys.stderr)


def _outlet(stream: TextIO) -> TextIO:
    return stream if isinstance(stream, _Outlet) else cast(TextIO, _Outlet(stream))


def failure() -> OSError | None:
    """Why nothing more can be shown on stdout; None as long as it can."""
    sys.stdout.flush()
    return sys.stdout.failure if isinstance(sys.stdout, _Outlet) else None


def forgive() -> None:
    """A failure of stdout was told already, and does not change the exit code."""
    if isinstance(sys.stdout, _Outlet):
        sys.stdout.forgiven = True


def close(code: int) -> int:
    """Write what is left of the output of a command.

    Args:
        code: What the command ended with.

    Returns:
        The exit code: another one if the command did well and its output could not be written.
    """
    error = failure()
    if error is None or (isinstance(sys.stdout, _Outlet) and sys.stdout.forgiven):
        return code
    if isinstance(error, BrokenPipeError):  # the reader, as `head`, has seen enough
        return code if code != OK else BROKEN_PIPE
    show(UnwritableError(error))
    return code if code != OK else UNFORESEEN
