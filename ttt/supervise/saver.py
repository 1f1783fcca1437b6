"""Saves a run at intervals while it trains: it copies on the clock, and a thread writes the copy.

All ranks copy after the same step. The exchange that they make anyway every few steps shows that it
is time and that no rank is still writing. `ttt.distributed.checkpoint` knows how a checkpoint is
stored.
"""

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttt.distributed import checkpoint
from ttt.distributed.checkpoint import Progress
from ttt.distributed.state import load_torchs_part, random_state
from ttt.events import Kind
from ttt.loop import Parts
from ttt.protocols import State
from ttt.run_folder import RunFolder

_LAST_SECONDS = 60.0  # for the last one, once training is over; a file system may never answer


@dataclass(frozen=True, slots=True)
class Copied:
    """A checkpoint that is being written.

    Attributes:
        progress: Where the run was.
        bytes: Of all ranks.
        copy_s: How long copying took, in which no rank trained.
    """

    progress: Progress
    bytes: int
    copy_s: float


def state(parts: Parts) -> State:
    """All that a run needs to go on."""
    learned = parts.learner.state()
    random = random_state(parts.world)
    own = {"random": random, "wait_seconds": parts.meter.wait_seconds}
    return State(learned.alike, {**learned.own, **own}, learned.cut)


def progress(parts: Parts) -> Progress:
    """How far the run is."""
    clock, world = parts.clock, parts.world
    totals, tensor = clock.totals, world.mesh.tensor
    return Progress(parts.learner.steps, world.size, clock.now(), totals, tensor)


def forget(folder: Path) -> None:
    """Remove what was saved of a run that is over."""
    shutil.rmtree(RunFolder(folder).checkpoint, ignore_errors=True)


class Saver:
    """Implements `ttt.protocols.Saver`.

    A checkpoint that cannot be written is a warning in the record: the run goes on, and an older
    checkpoint counts.

    Args:
        parts: Of the run.
        folder: The run folder, which all ranks must see.
        every: Seconds from one copy to the next, and from the start to the first.
    """

    def __init__(self, parts: Parts, folder: Path, every: float) -> None:
        checkpoint.demand_shared(folder, parts.world)
        load_torchs_part()
        self._parts, self._folder, self._every = parts, RunFolder(folder).checkpoint, every
        self._due: float | None = None
        self._copied: Copied | None = None
        self._thread: threading.Thread | None = None
        self._written = 0  # the step of the last file that this rank has written
        self._failed: str | None = None
        self._warned: set[str] = set()

    def signs(self) -> list[int]:
        """Whether this rank is still writing, and the step of what it has written."""
        busy = self._thread is not None and self._thread.is_alive()
        return [-int(busy), self._written]  # in this order: what is not busy any more has written

    def heed(self, step: int, seconds: float, signs: Sequence[int]) -> None:
        """Save after this step if it is time and no rank is still writing."""
        busy, written = signs
        if busy:
            return
        self._conclude(step, written)
        if self._due is None:
            self._due = seconds + self._every
        if seconds >= self._due:
            self._due = seconds + self._every
            self._save()

    def finish(self) -> None:
        """Wait for what is being written."""
        if self._thread:
            self._thread.join(_LAST_SECONDS)
            if self._thread.is_alive():
                self._failed = f"not written {_LAST_SECONDS:g} s after the training"
        _, written = self._parts.world.minimum_later(self.signs())()
        self._conclude(self._parts.learner.steps, written)

    def _save(self) -> None:
        parts = self._parts
        clock, before = parts.clock, parts.clock.total("checkpoint")
        parts.heartbeat.beat("copying for a checkpoint", parts.learner.steps)
        with clock.span("checkpoint"):  # without the steps that a GPU still has in its queue
            where = progress(parts)
            content = checkpoint.part(state(parts), parts.world, copy=True)
            [total] = parts.world.sum([checkpoint.size_of(content)])
        self._copied = Copied(where, total, clock.total("checkpoint") - before)
        self._failed = None
        self._thread = threading.Thread(
            target=self._write, args=(content, self._copied), name="checkpoint", daemon=True
        )
        self._thread.start()

    def _write(self, content: dict[str, Any], copied: Copied) -> None:
        """In a thread of its own."""
        rank, where = self._parts.world.rank, copied.progress
        try:
            checkpoint.write(content, where, self._folder, rank, total=copied.bytes)
        except Exception as error:  # of any kind: a checkpoint may fail, the run goes on
            self._failed = checkpoint.reason(error)
        else:
            self._written = where.step

    def _conclude(self, step: int, written: int) -> None:
        """Record whether the last checkpoint was written, once no rank is still writing it."""
        copied, self._copied = self._copied, None
        if copied is None:
            return
        log, saved = self._parts.log, copied.progress.step
        if written >= saved:
            facts = {"saved_step": saved, "bytes": copied.bytes, "copy_s": copied.copy_s}
            log.emit(Kind.CHECKPOINT, step, **facts)
            return
        failed = [
            f"rank {rank}: {reason}"
            for rank, reason in enumerate(self._parts.world.gather(self._failed))
            if reason
        ]
        if failed[0] not in self._warned:
            self._warned.add(failed[0])
            message = f"a checkpoint was not written, the run goes on: {failed[0]}"
            log.emit(Kind.WARNING, step, message=message)
