"""Text as other systems save it: with a byte order mark, or in another encoding than UTF-8.

A mark of UTF-8 at the very beginning of a file is dropped: it is no character of the text. Any
other encoding is an error, with the command that changes it, and never guessed at.
"""

from __future__ import annotations

import codecs
import shlex
from pathlib import Path

from ttt.errors import DataError

# The longer ones first: that of UTF-32 LE begins as that of UTF-16 LE.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def without_mark(start: bytes, path: Path) -> bytes:
    """The beginning of a text without its mark.

    Args:
        start: The first bytes of the text, four at least if it has so many.
        path: Where it is from.

    Raises:
        DataError: The mark is that of another encoding.
    """
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            raise DataError(
                f"{path} is {encoding} text, by its first bytes; allowed: UTF-8 text, as"
                f" `{_command(path, encoding)}` makes it"
            )
    return start.removeprefix(codecs.BOM_UTF8)


def not_utf8(path: Path, number: int, error: UnicodeDecodeError) -> DataError:
    """What is wrong with a line, counted from 1, that cannot be decoded."""
    return DataError(
        f"{path}, line {number}: byte 0x{error.object[error.start]:02x} is not UTF-8; allowed:"
        f" UTF-8 text, as `{_command(path, 'LATIN1')}` makes it of Latin-1"
    )


def _command(path: Path, encoding: str) -> str:
    name = shlex.quote(path.name)
    change = f"iconv -f {encoding} -t UTF-8"
    return f"zcat {name} | {change} | gzip" if path.suffix == ".gz" else f"{change} {name}"
