"""Sees what a training step sends and how many bytes of tensors live, on real or fake tensors.

`ttt plan` counts a step with it that no machine takes; tests count the same step of real processes.
Bytes are those of tensors that torch's dispatcher gives out, not a process's memory: an allocator's
fragments, workspaces of libraries, and what a driver keeps come on top.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch.distributed._functional_collectives import AsyncCollectiveTensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_COLLECTIVES = ("c10d", "_c10d_functional")
# What both of torch's interfaces, with and without a result of its own, call the same thing.
_NAMES = {
    "_allgather_base_": "all-gather",
    "allgather_": "all-gather",
    "allgather_into_tensor_coalesced_": "all-gather",
    "all_gather_into_tensor": "all-gather",
    "_reduce_scatter_base_": "reduce-scatter",
    "reduce_scatter_": "reduce-scatter",
    "reduce_scatter_tensor_coalesced_": "reduce-scatter",
    "reduce_scatter_tensor": "reduce-scatter",
    "allreduce_": "all-reduce",
    "allreduce_coalesced_": "all-reduce",
    "all_reduce": "all-reduce",
    "alltoall_base_": "all-to-all",
    "alltoall_": "all-to-all",
    "all_to_all_single": "all-to-all",
    "broadcast_": "broadcast",
    "broadcast": "broadcast",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A collective of one step.

    Attributes:
        kind: As NCCL's documentation calls it.
        ranks: Of the processes that take part.
        size: Bytes of the larger side: what an all-gather gives and a reduce-scatter takes.
        dtype: Of the numbers, in torch's word.
    """

    kind: str
    ranks: tuple[int, ...]
    size: int
    dtype: str


class Witness(TorchDispatchMode):
    """Counts collectives and bytes of live tensors from where it is entered.

    Attributes:
        messages: Collectives since `clear`.
        live: Bytes of tensors made since it was entered that are still there.
        peak: The most that lived at once since `clear`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._sizes: dict[int, tuple[weakref.ref[Any], int]] = {}
        self.live = 0
        self.clear()

    def clear(self) -> None:
        """Forget messages and the peak."""
        self.messages: Counter[Message] = Counter()
        self.peak = self.live

    def __enter__(self) -> Self:
        """Also see storages that are emptied and filled again, as FSDP2 does with weights."""
        self._resize = torch.UntypedStorage.resize_
        witness, plain = self, self._resize

        def resize(storage: torch.UntypedStorage, size: int) -> Any:
            result = plain(storage, size)
            witness._count(storage)
            return result

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign,assignment]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        torch.UntypedStorage.resize_ = self._resize  # type: ignore[method-assign]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(issubclass(each, DTensor | AsyncCollectiveTensor) for each in types):
            return NotImplemented  # it comes again, as operations on this process's part
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.namespace in _COLLECTIVES:
            self._hear(func, args, result)
        if not func.is_view:
            for tensor in _tensors(result):
                for part in () if tensor.is_meta else _dense(tensor):
                    self._count(part.untyped_storage())
        return result

    def _hear(self, func: Any, args: Sequence[Any], result: Any) -> None:
        name = func._schema.name.partition("::")[2]
        if name not in _NAMES:
            return
        sides = [list(_tensors(each)) for each in (*args, result)]
        sizes = [sum(each.numel() * each.element_size() for each in side) for side in sides]
        size = max(sizes)
        dtype = str(sides[sizes.index(size)][0].dtype).removeprefix("torch.")
        self.messages[Message(_NAMES[name], _ranks(func, args), size, dtype)] += 1

    def _count(self, storage: torch.UntypedStorage) -> None:
        """Take in what a storage holds now."""
        key, size = id(storage), storage.nbytes()
        known = self._sizes.get(key)
        if known is None:
            reference = weakref.ref(storage, lambda _, key=key: self._forget(key))  # type: ignore[misc]
        else:
            reference = known[0]
            self.live -= known[1]
        self._sizes[key] = (reference, size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _forget(self, key: int) -> None:
        self.live -= self._sizes.pop(key)[1]


def _dense(tensor: Tensor) -> list[Tensor]:
    """The tensors that have a sparse one's numbers; any other is its own."""
    return [tensor._indices(), tensor._values()] if tensor.is_sparse else [tensor]


def _tensors(values: Any) -> Iterator[Tensor]:
    return (each for each in tree_leaves(values) if isinstance(each, Tensor))


def _ranks(func: Any, args: Sequence[Any]) -> tuple[int, ...]:
    """Who takes part in a collective."""
    for argument, value in zip(func._schema.arguments, args, strict=False):
        if argument.name == "group_name":
            return tuple(dist.get_process_group_ranks(_resolve_process_group(value)))
        if argument.name == "process_group":
            return tuple(dist.get_process_group_ranks(dist.ProcessGroup.unbox(value)))
    raise AssertionError(func)  # no collective of torch is without a group


def held(tensors: Any) -> int:
    """Bytes of this process's parts of some tensors; what several share counts once."""
    parts = (each.to_local() if isinstance(each, DTensor) else each for each in _tensors(tensors))
    return sum(
        {id(one.untyped_storage()): one.numel() * one.element_size() for one in parts}.values()
    )
