"""Shells as a person has them: interactive, in a terminal, asked to complete by the Tab key."""

import contextlib
import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from pathlib import Path

from ground import HUNG

# What makes each show the line it has, so that a test sees what Tab has made of it, and clear it.
_SHOW = {
    "bash": r"""bind -x '"\C-g": printf "<%s>\n" "$READLINE_LINE"; READLINE_LINE='""",
    "zsh": "show() { print -r -- \"<$BUFFER>\"; BUFFER= }; zle -N show; bindkey '^g' show",
    "fish": r"""bind \cg 'echo "<"(commandline)">"; commandline -r ""'""",
}
_START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
_LOAD = {
    "bash": 'eval "$(ttt completion bash)"',
    "zsh": 'eval "$(ttt completion zsh)"',
    "fish": "ttt completion fish | source",
}
_TAB, _SHOW_LINE = b"\t", b"\x07"


class Shell:
    """One shell with the completion of ttt.

    Args:
        name: bash, zsh or fish.
        folder: Where it is started.
        environment: Its variables.
    """

    def __init__(self, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.terminal, theirs = pty.openpty()
        self.process = subprocess.Popen(
            _START[name],
            cwd=folder,
            env=environment | {"TERM": "xterm", "PS1": "$ ", "HOME": str(folder)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  fish wants it
        )
        os.close(theirs)
        for line in (_LOAD[name], _SHOW[name], "echo rea''dy"):
            self.type(line + "\n")
        self.until(r"ready\r")

    def __enter__(self) -> "Shell":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def until(self, pattern: str, seconds: float = HUNG) -> re.Match[str]:
        """Read until the shell has printed that."""
        seen, end = "", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.terminal], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    seen += os.read(self.terminal, 65536).decode(errors="replace")
            if match := re.search(pattern, seen):
                return match
        raise AssertionError(f"{pattern} did not come: {seen!r}")

    def tab(self, line: str) -> str:
        """The line that Tab makes of this one."""
        os.write(self.terminal, line.encode() + _TAB + _SHOW_LINE)
        return self.until(r"<(.*?)>\r")[1]
