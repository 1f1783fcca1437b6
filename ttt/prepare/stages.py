"""Work in stages that need not be done twice, and how far it is.

It knows files and sizes, not what is done in a stage.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

from ttt import trusted
from ttt.errors import DataError, TttError
from ttt.prepare import room
from ttt.prepare.folder import Progress, manifest_of

STAGES = "stages.json"  # in a folder that is being filled: the notes of what is done

Found = dict[str, int]


class Stages:
    """A row of stages, each of which leaves a note when it is done.

    Args:
        path: Where the notes are kept.
        identity: What is being made; notes of anything else count for nothing.
        sizes: Bytes each stage has to read, in the order in which they come.
        progress: Called with (kB read, kB in all).
    """

    def __init__(
        self, path: Path, identity: Any, sizes: Mapping[str, int], progress: Progress
    ) -> None:
        self._path = path
        found = manifest_of(path)
        done = found.get("done", {}) if found.get("identity") == identity else {}
        self._state: dict[str, Any] = {"identity": identity, "done": done}
        self._ends = dict(zip(sizes, accumulate(sizes.values()), strict=True))
        self._read = 0
        self._progress = progress

    def run(self, name: str, work: Callable[[], Found]) -> Found:
        """Do a stage unless it is done already; what it found, which must be JSON-able."""
        done: dict[str, Found] = self._state["done"]
        if name not in done:
            done[name] = work()
            whole = self._path.with_suffix(".new")
            whole.write_text(json.dumps(self._state))
            whole.replace(self._path)
        self.reading(self._ends[name] - self._read)
        return done[name]

    def reading(self, size: int) -> None:
        """So many more bytes were read."""
        self._read += size
        end = max(self._ends.values())
        self._progress(-(-self._read // 1000), -(-end // 1000))

    def forget(self) -> None:
        """Remove the notes: all stages are done, or must be done anew."""
        self._path.unlink(missing_ok=True)


@contextmanager
def resumable_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, beside `out` and renamed to it at the end; it stays when interrupted.

    Where the input is refused before any stage was done, nothing stays.

    Raises:
        DataError: Another process is filling it, or the disk is full.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial"
    partial.mkdir(exist_ok=True)
    if not trusted.made_by_us(partial):  # its name can be guessed
        raise DataError(f"{partial} is a link, or not yours: remove it, or type --out DIR")
    lock = os.open(partial, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with room.reporting_full(out):
            yield partial
        partial.rename(out)
    except TttError:
        if not (partial / STAGES).exists():
            shutil.rmtree(partial)
        raise
    except BlockingIOError as error:
        raise DataError(
            f"another process is preparing {out}, in {partial}: wait for it, or type --out DIR"
        ) from error
    finally:
        os.close(lock)  # and the lock is gone, as it would be if this process were killed
