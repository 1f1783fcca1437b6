"""The records of a log, one after the other, as the engine's parsers see them; survives any file.

Everything that reads logs reads them through this: what is a record, what is damaged and what is
too long to be touched is then the same everywhere. May not know what keys mean.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ttt import foreign

TOKEN = ":::MLLOG "
LONGEST = 1 << 15  # characters a line; the engine's time grows with the square of it
MOST = 50_000  # records a log; published ones have up to some thousands
_FIELDS = ("key", "value", "metadata", "time_ms")


@dataclass(frozen=True, slots=True)
class Record:
    """A line that holds, or was meant to hold, a record.

    Attributes:
        line: The line in the file, from 1.
        text: The last token on the line and what follows, as the engine repeats it; empty if the
            line is endless.
        key: None if there is no text as key, or nothing can be read.
        value: Of any type; None if nothing can be read.
        metadata: None if it is no JSON object.
        time_ms: Milliseconds since the epoch; None if there is no number. It may be anything a
            float can be.
        damage: A sentence on why no rule can be applied; None if one can.
        endless: Whether the line is so long, or the last of so many, that the engine would take
            minutes or more.
        unseen: Records before this one on the same line, which the engine does not see.
    """

    line: int
    text: str
    key: str | None = None
    value: Any = None
    metadata: dict[str, Any] | None = None
    time_ms: float | None = None
    damage: str | None = None
    endless: bool = False
    unseen: int = 0


def records(path: Path, most: int = MOST) -> Iterator[Record]:
    """Every record of a log, in constant memory.

    Args:
        path: The log.
        most: Records it may have; one more is endless, and the last.

    Raises:
        OSError: The file cannot be read.
    """
    seen = 0
    for number, line, length in lines(path):
        if TOKEN in line:
            seen += 1
            if seen > most:
                why = f"line {number} has one more record than the {most:,} that are allowed"
                yield Record(number, "", damage=why, endless=True)
                return
            if length > LONGEST:
                why = f"line {number} has {length} characters, over {LONGEST}"
                yield Record(number, "", damage=why, endless=True)
            else:
                text = line[line.rfind(TOKEN) :].strip()
                yield _parse(number, text, line.count(TOKEN) - 1, whole=line.endswith("\n"))


def lines(path: Path) -> Iterator[tuple[int, str, int]]:
    """Number, text and length of each line; of one over LONGEST only as much as shows the token.

    Raises:
        OSError: The file cannot be read.
    """
    # As the engine decodes: no byte is ever undecodable.
    with open(path, encoding="latin-1", opener=foreign.regular) as file:
        yield from _lines(file)


def _lines(file: TextIO) -> Iterator[tuple[int, str, int]]:
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        length = len(line)
        while length > LONGEST and not line.endswith("\n"):
            more = file.readline(LONGEST)
            if not more:
                break
            length += len(more)
            kept = TOKEN if TOKEN in line else line[-len(TOKEN) :]
            line = kept + more  # the token may be cut by the end of a piece
        yield number, line, length


def _no_json(text: str, error: ValueError, *, whole: bool) -> str:
    """Why a record is not JSON: as a rule something else was written to the same line."""
    if "\x1b" in text:
        return (
            "the record has colour codes of a terminal in it; take them out:"
            r" sed 's/\x1b\[[0-9;]*[A-Za-z]//g' LOG > CLEAN"
        )
    try:
        _, end = json.JSONDecoder().raw_decode(text, len(TOKEN))
    except json.JSONDecodeError:
        cut = "is not JSON" if whole else "is the last and cut off, or is not JSON"
        return f"the record {cut}: {error}"
    except (ValueError, RecursionError):  # it begins as JSON, and holds what is out of bounds
        return f"the record cannot be read: {error}"
    return (
        f"after the record comes {text[end:].strip()!r:.60}, which belongs on a line of its own:"
        " something else prints to the log"
    )


def _parse(number: int, text: str, unseen: int, *, whole: bool) -> Record:
    try:
        fields = _fields(text, whole=whole)
    except ValueError as error:
        return Record(number, text, damage=f"line {number}: {error}", unseen=unseen)
    key, metadata, time_ms, damage = fields["key"], fields["metadata"], None, None
    try:
        time_ms = float(fields["time_ms"])
    except (TypeError, ValueError):
        damage = f"line {number}: time_ms is {fields['time_ms']!r:.40}, not a number"
    except OverflowError:
        damage = (
            f"line {number}: time_ms is a number of {len(str(abs(fields['time_ms'])))} digits, out"
            " of range; allowed: milliseconds since 1970, such as 1700000000000"
        )
    return Record(
        line=number,
        text=text,
        key=key if isinstance(key, str) else None,
        value=fields["value"],
        metadata=metadata if isinstance(metadata, dict) else None,
        time_ms=time_ms,
        damage=damage,
        unseen=unseen,
    )


def _fields(text: str, *, whole: bool) -> dict[str, Any]:
    """What a record holds.

    Raises:
        ValueError: No rule can be applied to it.
    """
    try:
        fields: Any = foreign.loaded_json(text[len(TOKEN) :])
    except ValueError as error:
        raise ValueError(_no_json(text, error, whole=whole)) from error
    except RecursionError:
        raise ValueError("the record is nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("the record is no JSON object")
    suspect = "\\u" in text or text.count("[") + text.count("{") > foreign.DEEPEST
    if suspect or len(text) > foreign.LONGEST_NUMBER:
        fields = foreign.bounded(fields)
    if missing := [name for name in _FIELDS if name not in fields]:
        raise ValueError(f"the record has no {', '.join(missing)}")
    return {name: fields[name] for name in _FIELDS}
