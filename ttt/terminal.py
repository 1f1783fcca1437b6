"""The console of every command: it shows any text as it is, and says so if that cannot be done.

Paths, errors and tags come from elsewhere: none is ever read as rich's markup, and none steers the
terminal (`ttt.errors.shown`). Styles are given to `rich.text.Text`.
"""

import errno
import os
from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from ttt.errors import one_line, shown
from ttt.streams import UnwritableError

_WITHOUT_END = 10_000  # columns of a file or a pipe, where a line stays one


class Terminal(Console):
    """A rich console without markup, whose failures are exceptions.

    It wraps lines at the width of a terminal, and nothing in a file or a pipe, where they are
    searched and cut by other programs; COLUMNS says otherwise.

    Raises:
        BrokenPipeError: The reader is gone; rich's own console would end the process.
        UnwritableError: It cannot be written, as to a full disk.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if not (self.is_terminal or "width" in options or "COLUMNS" in os.environ):
            self.width = _WITHOUT_END

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What rich makes of anything, its text visible; moves of the cursor stay."""
        for one in super().render(renderable, options):
            if one.control or one.text.isprintable():
                yield one
            else:
                yield Segment(shown(one.text), one.style)

    def say(self, sentence: str, style: str = "") -> None:
        """Print one line of any length, with its text made visible."""
        self.print(Text(one_line(sentence), style), soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Leave it to the caller what that means."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; see the class for what it raises."""
        # Before rich sees it: its Text drops some controls, and a reader would not see them.
        seen = (shown(each) if isinstance(each, str) else each for each in objects)
        try:
            super().print(*seen, **options)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UnwritableError(error) from error
