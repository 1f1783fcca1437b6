"""One process of a run that has no others: its collectives end at once and change nothing.

With fake tensors (shapes and no values) it builds, cuts and trains a model as it would be on any
number of processes, in memory for none. What depends on values is as large as it can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C import _distributed_c10d as c10d
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import distributed as ddp
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from ttt.distributed import largest, sharded
from ttt.distributed.axis import replicas
from ttt.distributed.world import Group
from ttt.protocols import Axis, Shard, World
from ttt.schema.parallel import Mesh


class Imagined(Group):
    """The first process of so many; see `imagined`."""

    def __init__(self, mesh: Mesh, local_size: int) -> None:
        super(Group, self).__init__(0, mesh.processes)
        self.local_rank, self.local_size = 0, local_size
        self.nodes = -(-mesh.processes // local_size)
        self.mesh, self.data = mesh, Shard(0, mesh.data_shards)
        self.device, self.threads = torch.device("cpu"), 1
        self.replicas: Axis = replicas(0, mesh)


@contextmanager
def imagined(mesh: Mesh, local_size: int) -> Iterator[Imagined]:
    """The world of a run of these processes, of which one is here.

    Args:
        mesh: All processes.
        local_size: Processes of a node.
    """
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=mesh.processes)
    try:
        yield Imagined(mesh, local_size)
    finally:
        dist.destroy_process_group()


_device_mesh = sharded.device_mesh


@contextmanager
def without_values() -> Iterator[None]:
    """Let what is made have shapes and no values, and collectives end at once.

    Replaced is what torch cannot do without values. `Module.to` has nothing to move here, and fails
    to swap fake weights. A mesh finds its process among numbers. DDP compares the shapes of weights
    between processes, and agrees on the order of buckets, by reading memory.
    """
    rebuild = c10d.Reducer._rebuild_buckets
    instant = _Instant()  # type: ignore[no-untyped-call]

    def rebuild_for_real(reducer: Any) -> bool:
        instant.numbers = True
        try:
            return bool(rebuild(reducer))
        finally:
            instant.numbers = False

    with (
        mock.patch.object(nn.Module, "to", lambda module, *_, **__: module),
        mock.patch.object(sharded, "device_mesh", mesh_with_values),
        mock.patch.object(ddp, "_verify_param_shape_across_processes"),
        mock.patch.object(c10d.Reducer, "_rebuild_buckets", rebuild_for_real),
        mock.patch.object(c10d.Logger, "set_runtime_stats_and_log"),
        FakeTensorMode(allow_non_fake_inputs=True),
        instant,
    ):
        yield


def mesh_with_values(world: World) -> DeviceMesh:
    """`sharded.device_mesh` where other tensors have none."""
    with unset_fake_temporarily():
        return _device_mesh(world)


class _Instant(TorchDispatchMode):
    """Ends a collective at once; gives numbers of buckets, which C++ reads, their values."""

    numbers = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "c10d":
            return ended(func, args)
        kinds = (kwargs.get("dtype"), *(each.dtype for each in args if isinstance(each, Tensor)))
        if self.numbers and torch.int32 in kinds:
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        return largest.called(func, args, kwargs)


def ended(func: Any, args: Any) -> Any:
    """What a collective of torch's gives that is done at once and has changed nothing."""
    done: Any = torch.futures.Future()
    done.set_result(args[0])
    work = c10d._create_work_from_future(done).boxed()  # type: ignore[attr-defined]
    return work if len(func._schema.returns) == 1 else (args[0], work)


def alike(batch: Any) -> Any:
    """A batch of the same shapes without values; called `without_values`."""
    parts = [torch.empty(each.shape, dtype=each.dtype) for each in batch]
    return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
