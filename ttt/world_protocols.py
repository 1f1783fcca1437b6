"""The seams between ttt and the processes of a run: a world, its axes, and a model in parallel.

`ttt.protocols` has all of these names as well, and says what they are for. No torch is imported at
run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ttt.schema.parallel import Mesh

T = TypeVar("T")

# How a layer is cut among processes that compute it together; see `Plan.tensor`.
Style = Literal["column", "row", "table", "norm", "gather", "logits"]


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
        """Tell all processes that nothing moves."""

    def rung(self) -> bool:
        """Whether a process rang."""

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
    several processes may read the same data shard. What is of processes (health, measurements) is
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
        cut: What several processes have in pieces, each as torch's DTensor.
    """

    alike: Mapping[str, Any]
    own: Mapping[str, Any]
    cut: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model may be cut, as data: what its method `plan()` gives, if it has one.

    All names are those of the model's own modules, as `get_submodule` reads them.

    Attributes:
        units: Modules that follow each other and hold most of the weights and activations.
        tensor: Modules that several processes may compute in parts. A linear layer: "column", each
            some outputs of all inputs; "row", each a share of all outputs, from the inputs that it
            has; "logits", each some words of the vocabulary. An embedding: "table", each some
            words. With "norm", each norms some positions of every sequence, and with "gather" a
            module between these gets all positions as its first input.
        swap: What to put in the place of a module: called with it and the world, on every process,
            before anything of the model is on a device.
    """

    units: Sequence[str] = ()
    tensor: Mapping[str, Style] = field(default_factory=dict)
    swap: Mapping[str, Callable[[nn.Module, World], nn.Module]] = field(default_factory=dict)


class Parallel(Protocol):
    """A model that several processes train together, and its optimizer.

    Only `ttt.distributed` implements it. All processes make the same calls in the same order.
    """

    model: nn.Module  # for looking at it, without any communication but its own
    module: nn.Module  # the same for an update: its backward pass exchanges what has to be
    optimizer: torch.optim.Optimizer
    tables: str | None  # where tables are, a line each; None if every process has all of them
    in_turns: bool  # whether all processes have to make as many forward passes; see `in_step`

    def passing(self, *, last: bool) -> AbstractContextManager[None]:
        """Around one forward and backward pass; gradients are exchanged in an update's last.

        Before that they add up on each process.
        """

    def value(self, loss: Tensor) -> Tensor:
        """The loss of a pass as a plain number, without its history."""

    def in_step(self, batches: Iterable[Any], spare: Any) -> Iterator[tuple[Any, bool]]:
        """Batches to look at, and whether each counts.

        Where a forward pass communicates, every process makes as many: one that has run out goes
        on with `spare`, which does not count.
        """

    def looking(self) -> AbstractContextManager[nn.Module]:
        """The model to be looked at; there are no gradients in it."""

    def clip(self, norm: float) -> None:
        """Scale all gradients down together, so that their norm is at most this."""

    def average_buffers(self) -> None:
        """Make statistics, which each process gathered from its own samples, the same on all."""

    def look(self) -> None:
        """Keep what was timed since the last look; costs microseconds and never waits."""

    def breakdown(self, accumulate: int) -> Breakdown:
        """Where updates spent their time, each of so many forward and backward passes."""

    def state(self) -> State:
        """Weights, buffers and the optimizer's state; nothing of it is changed or copied."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` named."""

    def trial(self) -> AbstractContextManager[None]:
        """Forget the updates that are made within it, bit for bit."""
