"""Standard streams as a shell may leave them: closed, full, of a reader that went away.

Output on the screen may fail; measuring, writing files and the exit code may not. So a standard
stream that fails stays silent, and the command reports this when its work is done. Printed text
never steers a terminal, also if others chose it. May not import anything heavy: every command
begins here.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

from ttt.errors import BROKEN_PIPE, ESCAPE, OK, UNFORESEEN, TttError, show, shown


class UnwritableError(TttError):
    """What is shown cannot be written, as to a full disk."""

    def __init__(self, error: OSError) -> None:
        where = f" ({error.filename})" if error.filename else ""
        super().__init__(f"the output cannot be written: {error.strerror}{where}")


class _Outlet:
    """A stream that keeps its first failure and discards what would follow.

    rich, Hydra, argparse and logging do not see the failure: each would report it in its own way.
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


class _Visible:
    """A stream that makes all text visible (`ttt.errors.shown`).

    Attributes:
        rich_proxied_file: The stream behind it. Rich writes there (it looks for this name): its own
            escapes are colours and moves of the cursor, and `ttt.terminal` makes the text visible.
    """

    def __init__(self, outlet: _Outlet) -> None:
        self.rich_proxied_file = outlet

    def write(self, text: str) -> int:
        """Write it so that it can be seen."""
        self.rich_proxied_file.write(shown(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def prepare(*, visible: bool = True) -> None:
    """Open what is closed, as `>&-` does, and let nothing fail on its way to a terminal.

    Args:
        visible: Whether all that is printed is made visible. Not in a process that trains: there
            a user's own parts and debugger print, and may draw.
    """
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
    if visible:
        os.environ["PYTHON_COLORS"] = "0"  # else argparse and tracebacks of Python 3.13+ have some
    sys.stdout, sys.stderr = (_wrapped(each, visible) for each in (sys.stdout, sys.stderr))


def _wrapped(stream: TextIO, visible: bool) -> TextIO:
    outlet = _outlet(stream) or _Outlet(stream)
    return cast(TextIO, _Visible(outlet) if visible else outlet)


def _outlet(stream: TextIO) -> _Outlet | None:
    """What `prepare` put there; None where it did not."""
    stream = getattr(stream, "rich_proxied_file", stream)
    return stream if isinstance(stream, _Outlet) else None


def failure() -> OSError | None:
    """Why nothing more can be shown on stdout; None as long as it can."""
    sys.stdout.flush()
    outlet = _outlet(sys.stdout)
    return outlet.failure if outlet else None


def forgive() -> None:
    """Mark a failure of stdout as reported; it no longer changes the exit code."""
    if outlet := _outlet(sys.stdout):
        outlet.forgiven = True


def close(code: int) -> int:
    """Write what is left of the output of a command.

    Args:
        code: What the command ended with.

    Returns:
        The exit code: another one if the command did well and its output could not be written.
    """
    error = failure()
    outlet = _outlet(sys.stdout)
    if error is None or (outlet and outlet.forgiven):
        return code
    if isinstance(error, BrokenPipeError):  # the reader, as `head`, has seen enough
        return code if code != OK else BROKEN_PIPE
    show(UnwritableError(error))
    return code if code != OK else UNFORESEEN
