"""The seams of ttt: what the loop asks of its parts; `ttt.world_protocols` has those of the world.

Everything here is structural: a class fits by having the methods, without importing this file. No
torch is imported at run time, so that a login node can read a configuration without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ttt.world_protocols import Axis, Board, Breakdown, Parallel, Plan, Shard, State, Style, World

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

    from ttt.events import Event

    Ids = npt.NDArray[np.int64]

Batch = Any  # a family's own tuple; for images (pixels [B, C, H, W], labels [B])
Column = Any  # values of a batch's samples: a list of text, or a NumPy array [B] of numbers

__all__ = [
    "Axis",
    "Batch",
    "Board",
    "Breakdown",
    "Column",
    "Data",
    "Learner",
    "Metric",
    "Parallel",
    "Plan",
    "Saver",
    "Shard",
    "Sink",
    "State",
    "Style",
    "Synthetic",
    "Task",
    "World",
]


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Made-up batches with every shape a run will see, for warming up without touching the data."""

    train: Sequence[Batch]
    eval: Sequence[Batch]


class Data(Protocol):
    """One data set as one process reads it. Constructing it opens no file of the data set.

    The run calls `train` before it asks how many samples a step takes.
    """

    train_samples: int
    eval_samples: int
    steps_per_epoch: float | None  # None where that is known only once the data is read

    def samples_after(self, step: int) -> int:
        """Training samples used by this many updates, over all shards; asked after RUN_START."""

    def steps_to(self, samples: int) -> int:
        """The least number of updates that use this many training samples."""

    def synthetic(self, shard: Shard) -> Synthetic:
        """Batches of noise in every shape `train` and `eval` will give; warms the loader too."""

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Batch]:
        """Endless batches from step `start` on; across shards every sample once an epoch."""

    def eval(self, shard: Shard) -> Iterable[Batch]:
        """Every evaluation sample exactly once across shards, never padded."""

    def eval_ids(self, shard: Shard) -> Iterable[Ids]:
        """The samples of each batch of `eval`; only `keep=[predictions]` asks, after RUN_STOP.

        Ids count from 0 to below `eval_samples`, as the data set lies; int64 [B].
        """

    def names(self, ids: Ids) -> list[str]:
        """The names of evaluation samples in the data set, such as names of files."""

    def skipped(self) -> frozenset[str]:
        """Names of the unreadable samples this process replaced (`data.on_error=skip`)."""

    def details(self) -> Mapping[str, Any]:
        """What a reader of the result should know of the batches, the same on all processes.

        As the share of padding; JSON-able, often empty. Asked once, after the clock has stopped.
        """

    def close(self) -> None:
        """Free threads, files and device memory."""


class Metric(Protocol):
    """A quality, accumulated over an evaluation; the same float on every process."""

    name: str

    def details(self) -> Mapping[str, str]:
        """What its name leaves open, as sacrebleu's signature; goes into the log. Often empty."""

    def update(self, prediction: Any, batch: Batch) -> None:
        """Take in one batch, without waiting for the device."""

    def compute(self, world: World) -> tuple[float, int]:
        """Quality over all processes and the number of samples it was computed from."""


class Task(Protocol):
    """What to learn: a loss, a prediction, and the metric that judges predictions."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss over the batch, a scalar."""

    def predict(self, model: nn.Module, batch: Batch) -> Any:
        """What the metric judges; called without gradients."""

    def metric(self) -> Metric:
        """A fresh metric, empty."""

    def kept(self, prediction: Any, batch: Batch) -> Mapping[str, Column]:
        """The columns that `keep=[predictions]` writes for a batch, by name: labels, scores, texts.

        Anybody can compute the metric from these columns.
        """


class Saver(Protocol):
    """Saves a run every so often while it trains. Called at the same steps on every process."""

    def signs(self) -> list[int]:
        """What all have to know before the next checkpoint; the least of all processes counts."""

    def heed(self, step: int, seconds: float, signs: Sequence[int]) -> None:
        """Save after this step if it is time, as all processes find alike.

        Args:
            step: Updates done.
            seconds: On the clock, the same on every process.
            signs: The least of every process's, in their order.
        """

    def finish(self) -> None:
        """Wait for what is being written; called once, off the clock."""


class Learner(Protocol):
    """How to learn it: a model, already parallel, and its update."""

    model: nn.Module
    steps: int  # updates so far

    def step(self, batch: Batch) -> None:
        """One update from this process's part of a global batch, without waiting for the device."""

    def eval_mode(self) -> AbstractContextManager[nn.Module]:
        """The model as it is evaluated: the same on every process, no gradients, no dropout."""

    def in_step(self, batches: Iterable[Any], spare: Any) -> Iterator[tuple[Any, bool]]:
        """Batches to look at, and whether each counts; see `Parallel`."""

    def state(self) -> State:
        """All that decides the next updates, to be saved; nothing of it is changed."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state: both parts of what `state` gave, put together."""

    def health(self, *, wait: bool = False) -> tuple[int, float | None]:
        """First step with a loss that is not finite (a huge number if none), and a recent loss.

        Both may be a little old unless `wait` is set, which waits for the device.
        """

    def breakdown(self) -> Breakdown:
        """Where updates spent their time; asked once, after the clock has stopped."""


class Sink(Protocol):
    """Somewhere events go."""

    def write(self, event: Event) -> None:
        """Take one event; must return quickly, the clock may be running."""

    def close(self) -> None:
        """Flush and free."""
