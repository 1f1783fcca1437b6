"""What was counted of a step, and whether it fits. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ttt.schema.parallel import Mesh

# Of an accelerator's memory, for what is not counted: the driver's context, buffers of NCCL,
# workspaces of libraries, and holes that the allocator leaves between tensors.
UNCOUNTED = 0.1


@dataclass(frozen=True, slots=True)
class Traffic:
    """Collectives of one kind in a step.

    Attributes:
        kind: all-gather, reduce-scatter, all-reduce, all-to-all, broadcast.
        axis: Sides of the mesh along which the processes differ, as "shard" or "replicate+shard".
        leaves_node: Whether some of the processes are on other nodes.
        dtype: Of the numbers, in torch's word.
        count: How many.
        size: Bytes of all: what an all-gather gives, what a reduce-scatter takes.
        largest: Bytes of the largest.
    """

    kind: str
    axis: str
    leaves_node: bool
    dtype: str
    count: int
    size: int
    largest: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What one process holds, in bytes, and what it sends in a step.

    Attributes:
        parameters: Its part of the weights.
        gradients: Its part of theirs.
        optimizer: Its part of the optimizer's state.
        peak: The most that lives at once in a step; None if a step depends on values.
        making: The same while the model is made, before it is cut.
        traffic: Collectives of a step; None likewise.
        unknown: Why the step could not be counted.
        remark: What is not counted.
    """

    parameters: int
    gradients: int
    optimizer: int | None
    peak: int | None
    making: int
    traffic: list[Traffic] | None
    unknown: str | None = None
    remark: str | None = None

    @property
    def needed(self) -> int | None:
        """The most that lives at once."""
        return None if self.peak is None else max(self.peak, self.making)

    def fits(self, memory: float | None) -> bool | None:
        """Whether it fits into so many bytes, with a rest for what is not counted."""
        if memory is None or self.needed is None:
            return None
        return self.needed <= memory * (1 - UNCOUNTED)


def axis(mesh: Mesh, ranks: Iterable[int]) -> str:
    """The sides of a mesh along which some ranks differ."""
    sides = {
        "replicate": {rank // (mesh.shard * mesh.tensor) for rank in ranks},
        "shard": {rank // mesh.tensor % mesh.shard for rank in ranks},
        "tensor": {rank % mesh.tensor for rank in ranks},
    }
    return "+".join(name for name, places in sides.items() if len(places) > 1)


def passes(figures: Figures, memory: float, micro_batch: int) -> int | None:
    """Into how many passes more a forward pass has to be divided to fit, if that can help.

    Activations grow with the samples of a pass, and nothing else does.
    """
    fixed = figures.parameters + figures.gradients + (figures.optimizer or 0)
    free = memory * (1 - UNCOUNTED) - fixed
    if figures.peak is None or free <= 0:
        return None
    least = max(2, math.ceil((figures.peak - fixed) / free))
    return next((more for more in range(least, micro_batch + 1) if micro_batch % more == 0), None)


def easier(mesh: Mesh, accumulate: int, more: int | None, local_size: int) -> list[dict[str, Any]]:
    """Settings that take less memory of a process, the least change first.

    Args:
        mesh: As it is.
        accumulate: Forward passes of an update, as they are.
        more: What `passes` gave.
        local_size: Processes of a node.
    """
    parts = {"parallel.replicate": 1, "parallel.shard": -1}
    again = {"parallel.checkpointing": "full"}
    found: list[dict[str, Any]] = [{"parallel.checkpointing": "selective"}, again]
    if more:
        found.insert(0, {"accumulate": accumulate * more})
    if mesh.replicate > 1:
        found += [parts, {**parts, **again}]
    if mesh.tensor < local_size:
        found.append({**parts, **again, "parallel.tensor": local_size})
    return found
