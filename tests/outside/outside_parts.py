"""Parts that a user might bring from outside, used by tests of what goes wrong and right."""

import ctypes
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ttt.distributed import world
from ttt.distributed.rank import from_environment
from ttt.events import Event
from ttt.metrics.accuracy import Top1
from ttt.sinks.console import Console
from ttt.sinks.summary import Summary
from ttt.tasks.image import ImageBatch, ImageClassification
from ttt.tasks.translation import Translation


class Linear(nn.Module):
    """A user's own model."""

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * size * size, classes)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.layer(pixels.flatten(1))
        return logits


class Trouble(ImageClassification):
    """Rank 1 gets into trouble: FAULT says which, FAULT_AT in which phase; a file says when."""

    losses = predictions = 0  # so far; the first two and the first one are the warm-up's

    def loss(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        self.losses += 1
        self._trouble("init" if self.losses == 1 else "train" if self.losses == 10 else "")
        return super().loss(model, batch)

    def predict(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        self.predictions += 1
        self._trouble("eval" if self.predictions == 2 else "")
        return super().predict(model, batch)

    def _trouble(self, phase: str) -> None:
        placement = from_environment()
        if not placement or placement.rank != 1 or os.environ["FAULT_AT"] != phase:
            return
        Path(os.environ["FAULT_MARK"]).touch()
        match os.environ["FAULT"]:
            case "raise":
                raise ZeroDivisionError("the defect of rank 1")
            case "memory":
                resource.setrlimit(resource.RLIMIT_AS, (2**36, 2**36))
                torch.ones(2**36)
            case "hang":
                time.sleep(600)


class DeadPeer(ImageClassification):
    """Rank 1 is killed while it trains; rank 0 then waits as for a GPU in a collective with it.

    Nothing wakes such a wait: no error of a connection, no exception of Python's. NCCL's flight
    record hangs as well, with Python's lock, as torch's does if NCCL does not answer.
    """

    losses = 0

    def loss(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        self.losses += 1
        placement = from_environment()
        if placement and self.losses == 10:
            if placement.rank == 1:
                Path(os.environ["FAULT_MARK"]).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            world.flight_record = lambda: ctypes.PyDLL(None).sleep(600)
            os.read(os.pipe()[0], 1)
        return super().loss(model, batch)


class BrokenSink(ImageClassification):
    """Not the task but a sink is broken: the one that shows things on the console."""

    def __init__(self, *, label_smoothing: float) -> None:
        super().__init__(label_smoothing=label_smoothing)
        Console.write = self._refuse  # type: ignore[method-assign, assignment]

    @staticmethod
    def _refuse(console: Console, event: Event) -> None:
        raise ConnectionError("the dashboard is away")


class KindsFile:
    """A user's own tracker: writes the kinds of a run's events to a file, then the result."""

    def __init__(self, *, folder: Path, summary: Summary, resumed: bool, name: str) -> None:
        self._file = (folder / name).open("a")
        self._summary = summary
        print("resumed" if resumed else "new", file=self._file)

    def write(self, event: Event) -> None:
        print(event.kind, file=self._file)

    def close(self) -> None:
        print(self._summary.result()["status"], file=self._file)
        self._file.close()


class Peeks(ImageClassification):
    """Looks at the data before the clock runs."""

    def __init__(self, *, label_smoothing: float) -> None:
        super().__init__(label_smoothing=label_smoothing)
        os.listdir(os.environ["PEEK_AT"])


class Removes(Translation):
    """Removes a file of the data set once nobody looks for it any more."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        Path(os.environ["REMOVES"]).unlink()


class Slow(ImageClassification):
    """Takes its time, so that a test can interfere."""

    def loss(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        time.sleep(0.02)
        return super().loss(model, batch)


class Breaks(ImageClassification):
    """Stops in the debugger in the middle of training, once."""

    calls = 0

    def loss(self, model: nn.Module, batch: ImageBatch) -> Tensor:
        Breaks.calls += 1
        if Breaks.calls == 12:
            breakpoint()
        return super().loss(model, batch)


class Unnamed(ImageClassification):
    """Judges by a metric with a name of its own."""

    def metric(self) -> Top1:
        metric = Top1()
        metric.name = "share_of_right_ones"
        return metric
