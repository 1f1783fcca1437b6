"""events.jsonl: the record of a run, one JSON object a line."""

import fcntl
import json
import math
import os
from pathlib import Path
from typing import Any

from ttt.errors import LaunchError
from ttt.events import Event


class JsonLines:
    """Appends every event as one whole line by one write, so that a killed run loses none.

    What was written survives the death of the process at any moment; only the last line can be cut,
    and only by the file system running full.

    Raises:
        LaunchError: Another process writes this record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        # Held as long as this process lives: so a reader knows, and a second writer is kept away.
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LaunchError(f"{path} is written by another process: this run goes on") from error
        except OSError:  # some file systems have no locks
            pass

    def write(self, event: Event) -> None:
        """Append one event.

        Raises:
            LaunchError: The line could not be written whole, or its file has no name any more.
        """
        record = {"kind": event.kind, "time": event.time, "step": event.step, "data": event.data}
        line = json.dumps(_strict(record), separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            cut = os.write(self._file, line) != len(line)
            why = "the disk is full, an event was cut" if cut else ""
        except OSError as error:
            why = error.strerror or str(error)
        if why:
            raise LaunchError(
                f"{self._path} cannot be written: {why}; free some space, or run_root=DIR elsewhere"
            )
        if not os.fstat(self._file).st_nlink:
            raise LaunchError(f"{self._path} was removed while the run was going on")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _strict(value: Any) -> Any:
    """The value as strict JSON can say it: a number that is not finite becomes its name."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {key: _strict(item) for key, item in value.items()}
        case list() | tuple():
            return [_strict(item) for item in value]
    return value
