"""How long steps take and how long they wait for data, measured without a synchronisation."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch


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


class Meter:
    """Marks the end of every step and adds up the time spent waiting for batches.

    On a GPU a mark is an event in the stream: the host runs ahead of the device, so the host's own
    times would say how fast steps are queued, not how fast they are done.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[Any] = []
        self._step_seconds: list[float] = []
        self._compiled = _compiled_graphs()
        self._waited = 0.0  # before the block that goes on
        self.wait_seconds = 0.0
        self.blocks: list[BlockTimes] = []

    def resume(self, wait_seconds: float) -> None:
        """Go on counting where an earlier process of this rank stopped."""
        self.wait_seconds = self._waited = wait_seconds

    def waiting(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches, with the time each took to arrive added to `wait_seconds`."""
        while True:
            begin = time.perf_counter()
            batch = next(batches)
            self.wait_seconds += time.perf_counter() - begin
            yield batch

    def mark(self) -> None:
        """A step has just been queued, or training is about to begin."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def collect(self) -> None:
        """Turn marks into step times; called between blocks, when the device is idle."""
        seconds = [
            before.elapsed_time(after) / 1000 if self._cuda else after - before
            for before, after in pairwise(self._marks)
        ]
        waited = self.wait_seconds - self._waited
        self.blocks.append(BlockTimes(len(seconds), sum(seconds), waited))
        self._step_seconds += seconds
        self._waited = self.wait_seconds
        self._marks.clear()

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


def _compiled_graphs() -> int:
    """So far; the compiler counts them, where somebody has loaded it."""
    compiler = sys.modules.get("torch._dynamo.utils")
    return int(compiler.counters["stats"]["unique_graphs"]) if compiler else 0
