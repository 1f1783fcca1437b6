"""Errors a person can act on, and the exit code each one ends with.

An error says what is wrong, the value that was found, what is allowed, and what to type. Everything
in this tree is shown without a traceback; any other exception is a defect in ttt and keeps its own.

    TttError                   1
    ├── ConfigError            2   wrong use or configuration
    ├── DataError              2   a data set that is absent, incomplete or unreadable
    ├── MissingExtra           2   an optional dependency is not installed
    └── LaunchError            5   processes or the cluster failed
"""

import codecs
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ttt import redact

OK = 0
UNFORESEEN = 1
USAGE = 2
NOT_REACHED = 3
NOT_COMPLIANT = 4
LAUNCH_FAILED = 5
SUSPENDED = 75  # EX_TEMPFAIL of sysexits.h: saved after a request to make room; start it again
INTERRUPTED = 130
BROKEN_PIPE = 141  # as a shell tells SIGPIPE


ESCAPE = "ttt-escape"  # errors=ESCAPE of any stream or file that shows text to people


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""What stands for characters that cannot be encoded; a byte of a file's name as \xe9."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = [
        f"\\x{ord(one) - 0xDC00:02x}"
        if "\udc80" <= one <= "\udcff"  # how Python tells a byte of a name that is no UTF-8
        else one.encode("ascii", "backslashreplace").decode()
        for one in error.object[error.start : error.end]
    ]
    return "".join(shown), error.end


codecs.register_error(ESCAPE, _escaped)


def encodable(text: str) -> str:
    r"""Text that every stream, file and tool can take: names of files are bytes, not all UTF-8.

    A byte that is no UTF-8 becomes \xe9. Everything else stays: this is for records.
    """
    return text.encode("utf-8", ESCAPE).decode()


def shown(text: str) -> str:
    r"""Text as people may see it: nothing in it steers a terminal, or hides or turns text round.

    What Python calls not printable (str.isprintable: controls, escapes, marks of direction and of
    no width, separators of lines, halves of pairs) is written as in Python: \x1b, \u202e. Spaces
    of any width, ends of lines and tabs stay; see `one_line`.
    """
    return text if text.isprintable() else _UNSEEN.sub(_visible, text)


def one_line(text: str) -> str:
    r"""The same in one line, as a sentence or a cell is: its \n and \t become visible, too."""
    return shown(text).replace("\n", r"\n").replace("\t", r"\t")


def counted(count: int, what: str, many: str | None = None) -> str:
    """Such as "1 run" or "2,048 processes"."""
    return f"{count:,} {what if count == 1 else many or what + 's'}"


# Wider than what is not printable, which no pattern can say; `_visible` decides.
_UNSEEN = re.compile(r"[^\n\t\x20-\x7e]")


def _visible(found: re.Match[str]) -> str:
    mark = found[0]
    space = mark > "\x9f" and mark.isspace() and mark not in "\u2028\u2029"
    if space or mark.isprintable():
        return mark
    return encodable(mark) if "\ud800" <= mark <= "\udfff" else repr(mark)[1:-1]


class TttError(Exception):
    """Base of every error ttt reports to a person in its own words.

    Its text is always `shown`, because it repeats names and values that others chose.
    """

    exit_code = UNFORESEEN

    def __init__(self, text: str) -> None:
        super().__init__(shown(text))


class ConfigError(TttError):
    """One or more problems in what the user asked for, reported together.

    Attributes:
        problems: One sentence each: what, the value, what is allowed, the override to type.
    """

    exit_code = USAGE

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(map(one_line, problems))
        super().__init__("\n".join(self.problems))


class DataError(TttError):
    """A data set that is absent, incomplete or unreadable.

    Attributes:
        problems: One sentence each.
    """

    exit_code = USAGE

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(map(one_line, problems))
        super().__init__("\n".join(self.problems))


def install(extra: str) -> str:
    """What to type for an extra of ttt: with a package index, and in a clone of the repository."""
    return f"pip install 'time-to-train[{extra}]' (in a clone of ttt, pip install -e '.[{extra}]')"


class MissingExtra(TttError):
    """An optional dependency is needed, and not installed or broken."""

    exit_code = USAGE

    def __init__(self, package: str, extra: str, purpose: str, broken: str | None = None) -> None:
        fault = f"cannot be imported ({broken})" if broken else "is not installed"
        super().__init__(f"{purpose} needs {package}, which {fault}: {install(extra)}")


class LaunchError(TttError):
    """Starting the processes failed, or one of them died."""

    exit_code = LAUNCH_FAILED


def where_failed(error: BaseException) -> str:
    """An error of a user's own code in a line: what it is, what it says, and the place."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    why = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if why else ''}{why}{where}"


def fault(
    setting: str, value: Any, why: str = "is not allowed", *, allowed: str = "", typed: str = ""
) -> str:
    """A sentence about a setting: its value, what is wrong, what is allowed, what to type.

    Args:
        setting: Its dotted name, or an option with its dashes, "--seed".
        value: A float is written as short as can be.
        why: What is wrong, as it follows the value.
        allowed: What the setting may be; empty where it is not known.
        typed: What to type: overrides as NAME=VALUE, options as --NAME VALUE, or a value of this
            setting.
    """
    option = setting.startswith("-")
    joint = " " if option else "="
    found = f"{value:g}" if isinstance(value, float) else value
    whole = not typed or (typed.startswith("--") if option else "=" in typed)
    instead = typed if whole else f"{setting}{joint}{typed}"
    parts = [f"{setting}{joint}{found} {why}", f"allowed: {allowed}" if allowed else "", instead]
    return "; ".join(part for part in parts if part)


@contextmanager
def writing(setting: str, value: Any, typed: str = "") -> Iterator[None]:
    """Turn a failed write within it into a sentence about the setting or option that names a place.

    Args:
        setting: As of `fault`.
        value: The file or folder.
        typed: As of `fault`.

    Raises:
        ConfigError: It cannot be written there.
    """
    try:
        yield
    except OSError as error:
        within = error.filename not in (None, str(value))
        where = f" ({error.filename})" if within else ""
        why = f"cannot be written: {error.strerror}{where}"
        raise ConfigError([fault(setting, value, why, typed=typed)]) from error


def show(error: TttError) -> None:
    """Print an error on stderr, a line for each problem, without secrets."""
    problems = error.problems if isinstance(error, ConfigError | DataError) else (str(error),)
    for problem in problems:
        print(f"ttt: {redact.text(problem)}", file=sys.stderr)
