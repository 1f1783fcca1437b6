"""A first look at a log, before any rules: which benchmark it says it is, and where it is damaged.

The engine needs the ruleset beforehand, stops at the first damaged record and counts records, not
lines. So this goes through the records before it, and remembers the line of each. It passes no
judgement.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttt.compliance.records import Record, records

Seed = tuple[str, str, int]


@dataclass(slots=True)
class Scan:
    """What a log looks like.

    Attributes:
        lines: The line in the file, from 1, of each record as the engine counts them.
        texts: The text of each record, as the engine repeats it in its messages.
        damage: A sentence for each record that no rule can be applied to.
        first: The first value of each key.
        statuses: The status of every run_stop.
        seeds: File, line and value of every seed, as package_checker tells them apart.
        started: time_ms of the first run_start.
        endless: A sentence for each line that the engine would take minutes or more to read.
        glued: A sentence for each line with several records, of which the engine sees the last.
    """

    lines: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    first: dict[str, Any] = field(default_factory=dict)
    statuses: list[Any] = field(default_factory=list)
    seeds: list[Seed] = field(default_factory=list)
    started: float | None = None
    endless: list[str] = field(default_factory=list)
    glued: list[str] = field(default_factory=list)

    def word(self, key: str) -> str | None:
        """The first value of a key, None where that is no text."""
        value = self.first.get(key)
        return value if isinstance(value, str) else None


def scan(path: Path) -> Scan:
    """Read a log.

    Raises:
        OSError: The file cannot be read.
    """
    found = Scan()
    for record in records(path):
        if record.endless:
            found.endless.append(record.damage or "")
            continue
        found.lines.append(record.line)
        found.texts.append(record.text)
        if record.unseen:
            found.glued.append(
                f"line {record.line} has {record.unseen + 1} records, and the checker sees only the"
                r" last; part them: sed 's/:::MLLOG/\n&/g' LOG > CLEAN"
            )
        if record.damage:
            found.damage.append(record.damage)
        if record.fields is not None:
            _take(found, record, record.fields)
    return found


def _take(found: Scan, record: Record, fields: dict[str, Any]) -> None:
    key, value, metadata = fields["key"], fields["value"], fields["metadata"]
    if isinstance(key, str):
        found.first.setdefault(key, value)
    if key == "run_start" and found.started is None:
        found.started = record.time_ms
    if not isinstance(metadata, dict):
        return
    if key == "run_stop":
        found.statuses.append(metadata.get("status"))
    if key == "seed" and isinstance(value, (int, float, str)):
        with suppress(ValueError, OverflowError):  # no number is no seed, for the checker too
            place = (str(metadata.get("file")), str(metadata.get("lineno")))
            found.seeds.append((*place, int(value)))
