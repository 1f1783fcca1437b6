"""One MLPerf log, read once: its records by key, when its run began, and where it is damaged.

All commands ask this class, so all of them see the same log. May not judge a log, nor know its run.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ttt.compliance.records import MOST, Record, records

Seed = tuple[str, str, int]


class Log:
    """What a log holds.

    Attributes:
        path: The file.
        records: All records in the order of the file, damaged ones included.
    """

    def __init__(self, path: Path, records: Sequence[Record]) -> None:
        self.path, self.records = path, records
        self._by_key: dict[str, list[Record]] = {}
        for record in records:
            if record.key is not None:
                self._by_key.setdefault(record.key, []).append(record)

    @classmethod
    def read(cls, path: Path, most: int = MOST) -> "Log":
        """Read a log.

        Args:
            path: The log.
            most: Records it may have; one more is endless, and the last.

        Raises:
            OSError: The file cannot be read.
        """
        return cls(path, list(records(path, most)))

    def of(self, key: str) -> Sequence[Record]:
        """The records of a key."""
        return self._by_key.get(key, ())

    def first(self, key: str) -> Any:
        """The first value of a key, None if there is none."""
        return next((record.value for record in self.of(key)), None)

    def word(self, key: str) -> str | None:
        """The first value of a key, None where that is no text."""
        value = self.first(key)
        return value if isinstance(value, str) else None

    def moment(self, key: str) -> float | None:
        """The first finite time of a key, in milliseconds since the epoch."""
        times = (each.time_ms for each in self.of(key) if each.time_ms is not None)
        return next(filter(math.isfinite, times), None)

    @property
    def benchmark(self) -> str | None:
        """The id of the benchmark."""
        return self.word("submission_benchmark")

    @property
    def division(self) -> str | None:
        """As a rule closed or open."""
        return self.word("submission_division")

    @property
    def statuses(self) -> list[Any]:
        """The status of every run_stop."""
        stops = [each.metadata for each in self.of("run_stop") if each.metadata is not None]
        return [metadata.get("status") for metadata in stops]

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """File, line and value of every seed, as package_checker compares them."""
        found = []
        for record in self.of("seed"):
            if record.metadata is not None and isinstance(record.value, (int, float, str)):
                with suppress(ValueError, OverflowError):  # no number is no seed there either
                    file, line = record.metadata.get("file"), record.metadata.get("lineno")
                    found.append((str(file), str(line), int(record.value)))
        return tuple(found)

    @property
    def damage(self) -> list[str]:
        """A sentence for each record that no rule can be applied to."""
        return [record.damage for record in self.records if record.damage is not None]

    @property
    def endless(self) -> list[str]:
        """A sentence for each line that the engine would take minutes or more to read."""
        return [record.damage or "" for record in self.records if record.endless]

    @property
    def glued(self) -> list[str]:
        """A sentence for each line with several records, of which the engine sees the last."""
        return [
            f"line {record.line} has {record.unseen + 1} records, and the checker sees only the"
            r" last; part them: sed 's/:::MLLOG/\n&/g' LOG > CLEAN"
            for record in self.records
            if record.unseen
        ]
