"""How long steps take and how long they wait for data, measured without a synchronisation.

On a CPU a moment is a reading of the host's clock. On a GPU it is a CUDA event in torch's current
stream, because the host runs ahead of the device. Its clock would show how fast steps are queued,
and a host that a full queue holds back would look like one that waits for data.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

_PENDING = 64  # marks that are kept before the host looks which the device has passed


@dataclass(frozen=True, slots=True)
class BlockTimes:
    """Training between two evaluations, as one process saw it.

    Attributes:
        steps: Updates in it.
        seconds: What they took.
        wait_s: As much of that as it waited for batches.
    """

    steps: int
    seconds: float
    wait_s: float


class _HostMoments:
    """Readings of the host's clock, in seconds."""

    def now(self) -> float:
        return time.perf_counter()

    def passed(self, _moment: float) -> bool:
        return True

    def seconds(self, begin: float, end: float) -> float:
        return end - begin

    def release(self, *_moments: float) -> None:
        """A number needs no release."""


class _DeviceMoments:
    """Events in the current stream, recorded again and again: a long block makes no more of them.

    No method waits. `elapsed_time` raises RuntimeError if the device has not passed both events
    (torch's c10/cuda/CUDAEvent.h).
    """

    def __init__(self) -> None:
        self._free: list[torch.cuda.Event] = []

    def now(self) -> torch.cuda.Event:
        event = self._free.pop() if self._free else torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def passed(self, moment: torch.cuda.Event) -> bool:
        return bool(moment.query())

    def seconds(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(begin.elapsed_time(end)) / 1000

    def release(self, *moments: torch.cuda.Event) -> None:
        self._free += moments


class Meter:
    """Marks the end of every step and adds up the time spent waiting for batches.

    The wait of a step is the time from the request for its batch to the batch. On a GPU these are
    two events in the stream: the wait is zero if the batch is ready before the device has finished
    the step before, even if the host was blocked meanwhile. Where the batch is handed over, the
    stream waits for DALI's decoder (`ttt.data.decoder`), so this time counts. The other loaders
    copy to the device, and crop there, in the same stream: this counts, too. Two events without
    work between them are some microseconds apart.
    """

    def __init__(self, device: torch.device) -> None:
        self._moments: Any = _DeviceMoments() if device.type == "cuda" else _HostMoments()
        self._marks: deque[Any] = deque()
        self._waits: deque[tuple[Any, Any]] = deque()
        self._step_seconds: list[float] = []
        self._wait_seconds = 0.0
        self._collected = (0, 0.0)  # steps and seconds of waiting, before the block that goes on
        self._compiled = _compiled_graphs()
        self.blocks: list[BlockTimes] = []

    def resume(self, wait_seconds: float) -> None:
        """Go on counting where an earlier process of this rank stopped."""
        self._wait_seconds = wait_seconds
        self._collected = len(self._step_seconds), wait_seconds

    @property
    def wait_seconds(self) -> float:
        """Seconds spent waiting for batches, in the steps that the device has finished."""
        self._look()
        return self._wait_seconds

    def waiting(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches, with the time each took to arrive added to `wait_seconds`.

        The end of the step before is no substitute for the first moment: ranks may save a
        checkpoint between the two, and this is no wait for data.
        """
        while True:
            begin = self._moments.now()
            batch = next(batches)
            self._waits.append((begin, self._moments.now()))
            yield batch

    def mark(self) -> None:
        """A step has just been queued, or training is about to begin."""
        self._marks.append(self._moments.now())
        if len(self._marks) > _PENDING:
            self._look()

    def collect(self) -> None:
        """End a block; called between blocks, when the device is idle."""
        self._look()
        assert len(self._marks) <= 1, "the device still works on this block"
        self._moments.release(*self._marks)
        self._marks.clear()
        steps, waited = self._collected
        seconds = self._step_seconds[steps:]
        wait_s = self._wait_seconds - waited
        self.blocks.append(BlockTimes(len(seconds), sum(seconds), wait_s))
        self._collected = len(self._step_seconds), self._wait_seconds

    @property
    def recompiles(self) -> int:
        """Graphs that were compiled since this was made, which is when everything was warm."""
        return _compiled_graphs() - self._compiled

    def step_milliseconds(self) -> dict[str, float]:
        """Percentiles over all steps of this process; empty when no step was finished."""
        if not self._step_seconds:
            return {}
        steps = torch.tensor(self._step_seconds, dtype=torch.float64) * 1000
        levels = torch.tensor([0.5, 0.9, 0.99], dtype=torch.float64)
        p50, p90, p99 = steps.quantile(levels).tolist()
        return {"p50": p50, "p90": p90, "p99": p99}

    def _look(self) -> None:
        """Turn the moments that the device has passed into seconds; never waits for it."""
        moments = self._moments
        while self._waits and moments.passed(self._waits[0][1]):
            begin, end = self._waits.popleft()
            self._wait_seconds += moments.seconds(begin, end)
            moments.release(begin, end)
        while len(self._marks) > 1 and moments.passed(self._marks[1]):
            before = self._marks.popleft()
            self._step_seconds.append(moments.seconds(before, self._marks[0]))
            moments.release(before)


def _compiled_graphs() -> int:
    """So far; the compiler counts them, once it is loaded."""
    compiler = sys.modules.get("torch._dynamo.utils")
    return int(compiler.counters["stats"]["unique_graphs"]) if compiler else 0
