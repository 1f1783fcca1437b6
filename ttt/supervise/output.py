"""Where the output of one process goes: to the terminal it was started on, or to its own log."""

import os
import sys
from pathlib import Path

from ttt.errors import ESCAPE, shown
from ttt.terminal import Terminal


class Output:
    """The output streams of a process, and copies of those that it was started with.

    Attributes:
        stdout: The copy of its stdout, a file descriptor.
        stderr: The copy of its stderr, a file descriptor.
    """

    def __init__(self) -> None:
        self.stdout, self.stderr = os.dup(1), os.dup(2)

    def terminal(self, *, plain: bool | None) -> Terminal:
        """The terminal that the process was started on.

        Args:
            plain: Without colours and live lines; None for what the terminal can do.
        """
        file = os.fdopen(self.stdout, "w", errors=ESCAPE)
        return Terminal(file=file, force_terminal=False if plain else None)

    def say(self, text: str) -> None:
        """Show the user a line, also once the process's own streams go to a file.

        Raises:
            OSError: Its reader is gone.
        """
        os.write(self.stderr, shown(text).encode())

    def to_log(self, log: Path) -> None:
        """Send what the process and its libraries print to a file."""
        sys.stdout.flush()
        _redirect(log, 1, 2)

    def libraries_to_log(self, log: Path) -> None:
        """Send to the file only what libraries print past Python, as decoders do of bad images.

        For a process alone: its own words, and a debugger's, stay on the terminal.
        """
        _redirect(log, 2)
        sys.stderr = open(self.stderr, "w", 1, errors=ESCAPE, closefd=False)  # noqa: SIM115


def _redirect(log: Path, *streams: int) -> None:
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in streams:
        os.dup2(file, stream)
    os.close(file)
