"""Passes on what torchrun prints on one of several nodes, without torchrun's own messages.

The ranks write into the same log, and torchrun adds a page of its own about every rank that did not
end with 0.
"""

import re
import socket
import sys
from pathlib import Path

from ttt.errors import LAUNCH_FAILED
from ttt.supervise import deaths

_ITS_OWN = re.compile(r"[IWE]\d{4} \d\d:\d\d:|Traceback \(most recent call last\):")
_OURS = "ttt: "


class Relay:
    """Shows a log as it grows, without torchrun's own messages.

    Args:
        log: The file, not there before torchrun starts.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self._read = 0  # bytes
        self._shows = True
        self._words = False  # whether a rank has printed anything

    def show(self) -> None:
        """Pass on the lines that are whole."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="replace").splitlines(keepends=True):
            ours = line.startswith(_OURS)
            self._words |= ours
            self._shows = ours or (self._shows and not _ITS_OWN.match(line))
            if self._shows:
                sys.stderr.write(line)
        sys.stderr.flush()

    def close(self, status: int) -> int:
        """Print why torchrun ended if no rank has reported it; returns the launch's exit code.

        Args:
            status: What torchrun ended with.
        """
        if status == 0:
            return status
        log = self.log.read_text(errors="replace")
        death = deaths.first(deaths.of_torchrun(log, here=socket.gethostname()))
        if death is None:
            lines = [line for line in log.splitlines() if line.strip()][-1:]
            _say(": ".join(["torchrun failed", *lines]))
            return LAUNCH_FAILED
        if death.code < 0:
            _say(str(death))
        elif death.code == LAUNCH_FAILED and not self._words:
            _say(f"{death.who} lost its peers; the node that lost a rank says why")
        return death.exit_code


def _say(sentence: str) -> None:
    print(f"{_OURS}{sentence}", file=sys.stderr)
