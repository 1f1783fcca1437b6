"""The seams of ttt on one page: what the loop asks of its parts, and what the parts ask of a world.

Everything here is structural: a class fits by having the methods, without importing this file. No
torch is imported at run time, so that a login node can read a configuration without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor, nn

    from ttt.events import Event
    from ttt.schema.parallel import Mesh

    Ids = npt.NDArray[np.int64]

T = TypeVar("T")

Batch = Any  # a family's own tuple; for images (pixels [B, C, H, W], labels [B])
Column = Any  # values of a batch's samples: a list of text, or a NumPy array [B] of numbers


@dataclass(frozen=True, slots=True)
class Shard:
    """A data-parallel coordinate: which of `count` equal parts of every batch this process reads.

    Never a rank: processes that hold parts of one model replica share a shard.
    """

    index: int = 0
    count: int = 1


class Board(Protocol):
    """Where processes leave notes for each other. Every call answers soon, or raises."""

    rank: int
    size: int

    def put(self, note: str) -> None:
        """Leave this process's note, in place of the one before."""

    def notes(self) -> list[str | None]:
        """The latest note of every process; None of one that never left any."""

    def ring(self) -> None:
        """Tell everybody that nothing moves."""

    def rung(self) -> bool:
        """Whether somebody did."""

    def lost(self) -> int | None:
        """A rank whose process is known to have ended; None if none is."""


class Axis(Protocol):
    """Some processes of a run, as seen from one of them.

    Only `ttt.distributed` implements it. All processes of the axis make the same calls in the same
    order.
    """

    rank: int  # of this process along the axis
    size: int

    def gather(self, value: T) -> list[T]:
        """Every process's value, in rank order, on every process. Values must pickle."""

    def sum(self, values: Sequence[int]) -> list[int]:
        """Element-wise sum over processes, in exact integers."""

    def minimum_later(self, values: Sequence[int]) -> Callable[[], list[int]]:
        """Start an element-wise minimum over processes; the call returned waits for it."""

    def concat(self, part: Tensor) -> Tensor:
        """Every process's part, joined along dim 0 in rank order; parts may differ in length."""

    def exchange(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Give part i to process i; what every process gave this one, in rank order.

        Parts may differ in length, along dim 0, and in nothing else.
        """

    def transfer(self, given: Tensor, giving: Sequence[int], taking: Sequence[int]) -> Tensor:
        """`exchange` of parts below each other, whose lengths every process knows already.

        Args:
            given: The parts for process 0, 1, ... along dim 0.
            giving: Rows for each process.
            taking: Rows from each process.
        """

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each floating-point tensor by its mean over processes, in place."""


class World(Axis, Protocol):
    """All processes of one run, as seen from one of them. Only `ttt.distributed` implements it.

    What is of samples (counts, metrics, statistics of batches) is added up over `replicas`, because
    several processes may read the same data shard; what is of processes (health, measurements) is
    added up over the world.
    """

    local_rank: int
    local_size: int
    nodes: int
    mesh: Mesh
    data: Shard
    replicas: Axis  # one process of each data shard, in their order, this process among them
    device: torch.device
    threads: int  # this process's share of its node's cores

    def board(self) -> Board | None:
        """A place for notes, apart from everything that may get stuck; None for a process alone."""

    def expect_answers_within(self, seconds: float) -> None:
        """From now on a peer that does not take part for this long is an error."""

    def barrier(self) -> None:
        """Wait until every process is here."""

    def gather_nodes(self, value: T) -> list[T]:
        """The values of the first process of every node, in node order, on every process."""

    def agree(self, value: T) -> T:
        """Rank 0's value, on every process. The value must pickle."""


@dataclass(frozen=True, slots=True)
class Synthetic:
    """Made-up batches with every shape a run will see, for warming up without touching the data."""

    train: Sequence[Batch]
    eval: Sequence[Batch]


class Data(Protocol):
    """One data set as one process reads it. Constructing it opens no file of the data set."""

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
        """Whatever the metric judges; called without gradients."""

    def metric(self) -> Metric:
        """A fresh metric, empty."""

    def kept(self, prediction: Any, batch: Batch) -> Mapping[str, Column]:
        """The columns that `keep=[predictions]` writes for a batch, by name: labels, scores, texts.

        Anybody can compute the metric from these columns.
        """


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Where one process spends an update, in milliseconds; None is unknown.

    Attributes:
        compute_ms: Forward and backward of its own, without waiting for others.
        communication_ms: While gradients are exchanged, the wait for late processes included.
        exposed_ms: As much of that as no computation goes on beside.
    """

    compute_ms: float | None = None
    communication_ms: float | None = None
    exposed_ms: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that decides the next updates, by flat names; tensors are where they were, not copied.

    Attributes:
        alike: What every process has alike.
        own: What only this process has.
    """

    alike: Mapping[str, Any]
    own: Mapping[str, Any]


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
