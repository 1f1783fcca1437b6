"""Processes along one side of a mesh, and what they add up, join and exchange.

Small values (counts, verdicts) travel over gloo on the CPU, so that agreeing on them never waits
for a device. Tensors travel where they lie: NCCL on GPUs, gloo on CPUs.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ttt.schema.parallel import Mesh

T = TypeVar("T")

# torch 2.13 deprecated the second name and older ones do not know the first.
gather_into = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


class Alone:
    """An axis of one process: its part is the whole. Implements `ttt.protocols.Axis`."""

    rank = 0
    size = 1

    def gather(self, value: T) -> list[T]:
        """The one value."""
        return [value]

    def sum(self, values: Sequence[int]) -> list[int]:
        """The values themselves."""
        return list(values)

    def minimum_later(self, values: Sequence[int]) -> Callable[[], list[int]]:
        """The values themselves."""
        return lambda: list(values)

    def concat(self, part: Tensor) -> Tensor:
        """The part is the whole."""
        return part

    def exchange(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """The one part stays here."""
        return list(parts)

    def transfer(self, given: Tensor, giving: Sequence[int], taking: Sequence[int]) -> Tensor:
        """All of it stays here."""
        return given

    def average(self, tensors: Sequence[Tensor]) -> None:
        """A mean of one."""


class Several:
    """An axis of processes that communicate. Implements `ttt.protocols.Axis`.

    Args:
        rank: This process, along the axis.
        size: Processes along it.
        group: torch's name for them; None for all processes of the run.
    """

    def __init__(self, rank: int, size: int, group: dist.ProcessGroup | None = None) -> None:
        self.rank, self.size = rank, size
        self._group = group

    def gather(self, value: T) -> list[T]:
        """Every process's value, in rank order, on every process. Values must pickle."""
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values  # type: ignore[return-value]

    def sum(self, values: Sequence[int]) -> list[int]:
        """Element-wise sum over processes, in exact integers."""
        total = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(total, group=self._group)
        return [int(value) for value in total]

    def minimum_later(self, values: Sequence[int]) -> Callable[[], list[int]]:
        """Start an element-wise minimum over processes; the call returned waits for it."""
        least = torch.tensor(values, dtype=torch.int64)
        work = dist.all_reduce(least, op=dist.ReduceOp.MIN, group=self._group, async_op=True)

        def result() -> list[int]:
            work.wait()
            return [int(value) for value in least]

        return result

    def concat(self, part: Tensor) -> Tensor:
        """Every process's part, joined along dim 0 in rank order; parts may differ in length."""
        lengths = self.gather(len(part))
        whole = part.new_empty((sum(lengths), *part.shape[1:]))
        ends = itertools.accumulate(lengths)
        for source, (end, length) in enumerate(zip(ends, lengths, strict=True)):
            piece = whole[end - length : end]
            if source == self.rank:
                piece.copy_(part)
            if length:
                dist.broadcast(piece, group=self._group, group_src=source)
        return whole

    def exchange(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Give part i to process i; what every process gave this one, in rank order."""
        given = torch.tensor([len(part) for part in parts])
        coming = torch.empty_like(given)
        dist.all_to_all_single(coming, given, group=self._group)
        pieces = coming.tolist()
        return list(self.transfer(torch.cat(list(parts)), given.tolist(), pieces).split(pieces))

    def transfer(self, given: Tensor, giving: Sequence[int], taking: Sequence[int]) -> Tensor:
        """`exchange` of parts below each other, whose lengths every process knows already."""
        taken = given.new_empty((sum(taking), *given.shape[1:]))
        dist.all_to_all_single(
            taken, given.contiguous(), list(taking), list(giving), group=self._group
        )
        return taken

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each floating-point tensor by its mean over processes, in place.

        In float64, so that the mean of values that are equal already is that value on any number of
        processes: to look at a model once more must not change it.
        """
        floats = [tensor for tensor in tensors if tensor.is_floating_point()]
        if not floats:
            return
        flat = torch.cat([tensor.flatten().double() for tensor in floats])
        dist.all_reduce(flat, group=self._group)
        flat /= self.size
        for tensor, mean in zip(floats, flat.split([t.numel() for t in floats]), strict=True):
            tensor.copy_(mean.view_as(tensor))


def replicas(rank: int, mesh: Mesh) -> Several:
    """One process of each data shard, this one among them; all processes call this together.

    Args:
        rank: This process, in the world.
        mesh: How all processes divide the work.
    """
    group = None
    if mesh.data_shards < mesh.processes:
        group, _ = dist.new_subgroups_by_enumeration(mesh.replicas())
    return Several(mesh.data_shard(rank), mesh.data_shards, group)
