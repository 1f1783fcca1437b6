"""CUDA without a GPU: `cuda` tensors with shapes and no values, and a record of what is done.

Importing this changes torch for the whole process, so only a process of its own may do it, and only
after it has loaded the library that `fake_cuda.cpp` becomes. Within `FakeTensorMode` ttt's own code
then builds and trains models on "cuda:0". Of every operation torch computes the shape, the type and
the device of the result, and it refuses operands on different devices, as a GPU does.

`Recorder` sees each operation. It counts the ones that start work on the device, the collectives,
and the ones that make the host wait for the device.

Replaced are: calls of `torch.cuda`; values that the host reads, and results whose size depends on
values (all elements count as selected); cuDNN's LSTM; DDP's comparisons between processes; DALI.

What this cannot see: which kernels run and how long they take, streams, memory, NCCL, DALI, the
way of a real batch to the device, and compiled models. Attention is counted as the products it is
made of, because torch chooses a fused kernel only on a GPU. DDP waits, in the first ten steps and
in every hundredth, for the events by which it timed the step before: that is left out.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._C import _distributed_c10d as c10d
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.nn.parallel import distributed as ddp
from torch.utils._python_dispatch import TorchDispatchMode

from ttt.distributed import largest, sharded
from ttt.distributed.axis import replicas
from ttt.distributed.imagined import ended, mesh_with_values
from ttt.distributed.world import Group
from ttt.protocols import Shard
from ttt.schema.parallel import Mesh

DEVICE = torch.device("cuda", 0)
GPU_MEMORY = 141 * 10**9  # bytes, of an H200
OURS = ("ttt", "__main__")  # whose functions a wait is named by

# They start nothing on the device: they allocate, compare shapes, or give the same memory a shape.
FREE = set(
    "_unsafe_view empty empty_like empty_strided new_empty new_empty_strided is_same_size"
    " is_pinned is_coalesced _local_scalar_dense".split()
)
# The size or the value of the result is on the device, and the host waits for it.
READ_BY_HOST = set(
    "_local_scalar_dense equal nonzero masked_select _unique2 unique_dim unique_consecutive"
    " bincount _coalesce".split()
)
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Recorder(TorchDispatchMode):
    """Counts what is dispatched; entered after `FakeTensorMode`, so that it comes first.

    Attributes:
        operations: Those that start work on the device, by name.
        waits: Those for which the host waits, by name and the function of ttt that is to blame.
        collectives: Those among processes, by name.
    """

    latest: Recorder

    def __init__(self) -> None:
        super().__init__()
        Recorder.latest = self
        self.rebuilding = False
        self.clear()

    def clear(self) -> None:
        self.operations: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.collectives: Counter[str] = Counter()

    def wait(self, why: str) -> None:
        self.waits[f"{why} in {_culprit()}"] += 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace in ("prim", "profiler"):
            return func(*args, **kwargs)
        name = func._schema.name.partition("::")[2]
        if func.namespace == "c10d":
            self.collectives[name.strip("_")] += 1
            return ended(func, args)
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        if self.rebuilding and torch.int32 in (kwargs.get("dtype"), *(t.dtype for t in tensors)):
            with unset_fake_temporarily():  # the order of buckets, which C++ reads
                kwargs.pop("device", None)
                return func(*args, **kwargs)
        # Fake tensors allow this in lists; CUDA's kernels do not.
        changed = list(_tensors(args[:1])) if name.endswith("_") and name != "copy_" else []
        if any(t.is_cuda for t in tensors) and not all(t.is_cuda for t in changed):
            raise RuntimeError(f"{name} changes a tensor of the CPU by one of the device")
        if why := _wait(func, name, args, kwargs, tensors):
            self.wait(why)
        result = _stand_in(func, name, args, kwargs)
        results = list(_tensors([result]))
        if func.is_view and any(map(_pinned, tensors)):
            list(map(_pin, results))
        if not func.is_view and name not in FREE and any(t.is_cuda for t in (*tensors, *results)):
            self.operations[name] += 1
        return result


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among arguments or results, those in lists of them included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _culprit() -> str:
    """The innermost function of ttt on the stack; autograd has threads of its own."""
    frame = sys._getframe(1)
    while frame:
        module = frame.f_globals["__name__"]
        if module.split(".")[0] in OURS:
            return f"{module.removeprefix('ttt.')}.{frame.f_code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]
    return "backward"


def _wait(func: Any, name: str, args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> str | None:
    """Why the host waits for the device in this call, if it does."""
    if name in ("_to_copy", "copy_"):
        return _copy_wait(name, args, kwargs)
    if not any(tensor.is_cuda for tensor in tensors):
        return None
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        return name
    if name in INDEXING:
        places = [place for place in args[1] if place is not None]
        value = args[2] if len(args) > 2 else None
        filled = value is not None and value.numel() == 1 and not value.is_cuda  # masked_fill
        if any(map(largest.is_mask, places)) and not filled:
            return "indexing by a mask"
        if any(not place.is_cuda for place in places):
            return "indexing from the host"
    return name if name in READ_BY_HOST else None


def _copy_wait(name: str, args: Any, kwargs: Any) -> str | None:
    """Only a copy from or to pinned memory goes on by itself, if it is told not to block."""
    if name == "copy_":
        target, source = args[:2]
        blocking = not (args[2] if len(args) > 2 else kwargs.get("non_blocking"))
        there, direct = target.device, _pinned(source if target.is_cuda else target)
    else:
        source, there = args[0], torch.device(kwargs.get("device") or args[0].device)
        blocking = not kwargs.get("non_blocking")
        direct = _pinned(source) or source.is_cuda  # torch pins what such a copy to the host fills
    if source.device.type == there.type or "meta" in (source.device.type, there.type):
        return None
    if blocking or not direct:
        return f"copy from {source.device.type} to {there.type}"
    return None


def _stand_in(func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """What the call gives, also where that depends on values or torch has no fake form of it."""
    if name in STAND_INS:
        return STAND_INS[name](*args)
    if kwargs.get("pin_memory"):
        return _pin(func(*args, **kwargs | {"pin_memory": False}))
    return largest.called(func, args, kwargs)


def _pin(tensor: Any) -> Any:
    tensor.is_in_pinned_memory = True
    return tensor


def _pinned(tensor: Tensor) -> bool:
    return getattr(tensor, "is_in_pinned_memory", False)


STAND_INS: dict[str, Callable[..., Any]] = {
    "is_pinned": lambda tensor, *_: _pinned(tensor),
    "_pin_memory": lambda tensor, *_: _pin(torch.empty_like(tensor)),
    "_cudnn_rnn_backward": lambda x, weights, _, buffer, hidden, cell, *rest: (
        *map(torch.empty_like, (x, hidden, cell)),
        list(map(torch.empty_like, weights)),
    ),
    "_amp_update_scale_": lambda scale, *_: scale,
}


class Eight(Group):
    """The first of eight processes on one node; the others have the same small values.

    Collectives of tensors on the device are those of torch, over its process group "fake".
    """

    def __init__(self, mesh: Mesh) -> None:
        super(Group, self).__init__(0, 8)
        self.mesh, self.replicas = mesh, self if mesh.data_shards == 8 else replicas(0, mesh)
        self.local_rank, self.local_size, self.nodes = 0, 8, 1
        self.data, self.device, self.threads = Shard(0, mesh.data_shards), DEVICE, 1

    def sum(self, values: Sequence[int]) -> list[int]:
        Recorder.latest.wait("sum over processes")
        return [self.size * value for value in values]

    def minimum_later(self, values: Sequence[int]) -> Callable[[], list[int]]:
        return lambda: list(values)

    def gather(self, value: Any) -> list[Any]:
        Recorder.latest.wait("gather over processes")
        return [value] * self.size

    def agree(self, value: Any) -> Any:
        Recorder.latest.wait("agreement of processes")
        return value


class Event:
    """An event that has always happened already."""

    def __init__(self, enable_timing: bool = False) -> None: ...
    def record(self, stream: Any = None) -> None: ...
    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        Recorder.latest.wait("Event.synchronize")

    def elapsed_time(self, end: Event) -> float:
        return 1.0


class Stream:
    """A stream without anything in it."""

    def __init__(self, device: Any = None, priority: int = 0) -> None: ...
    def synchronize(self) -> None:
        Recorder.latest.wait("Stream.synchronize")

    def wait_stream(self, stream: Stream) -> None: ...
    def wait_event(self, event: Event) -> None: ...
    def record_event(self, event: Event | None = None) -> Event:
        return event or Event()


def _synchronize(device: Any = None) -> None:
    Recorder.latest.wait("torch.cuda.synchronize")


def _tolist(tensor: Tensor) -> Any:
    if tensor.is_cuda:
        Recorder.latest.wait("tolist")
    return np.ones(tensor.shape, dtype=float if tensor.is_floating_point() else int).tolist()


def _to(module: nn.Module, device: torch.device, memory_format: torch.memory_format) -> nn.Module:
    """`Module.to`, which for fake tensors tries to swap what cannot be swapped."""
    for part in module.modules():
        for owner in (part._parameters, part._buffers):
            for name, old in owner.items():
                if old is not None:
                    layout = memory_format if old.dim() == 4 else torch.preserve_format
                    new = old.detach().to(device, memory_format=layout)
                    owner[name] = nn.Parameter(new) if isinstance(old, nn.Parameter) else new
        if isinstance(part, nn.RNNBase):
            part._init_flat_weights()
    return module


def _lstm(
    x: Tensor,
    hidden: Any,
    weights: Any,
    *,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """cuDNN's LSTM as `ttt.models.lstm` calls it: one operation, here in the type of `x`.

    Source: torch's ATen/native/cudnn/RNN.cpp.
    """
    output, cell = hidden
    flat = x.new_empty(sum(weight.numel() for weight in weights))
    return torch.ops.aten._cudnn_rnn(
        *(x, weights, 4 if has_biases else 2, flat, output, cell, 2, output.shape[-1], 0),
        *(num_layers, batch_first, dropout, train, bidirectional, [], None),
    )[:3]


_REBUILD_BUCKETS = c10d.Reducer._rebuild_buckets


def _rebuild_buckets(reducer: Any) -> bool:
    """DDP's own, which lets processes agree on the order by tensors of numbers on the device."""
    Recorder.latest.rebuilding = True
    try:
        return bool(_REBUILD_BUCKETS(reducer))
    finally:
        Recorder.latest.rebuilding = False


def _change_torch() -> None:
    """Put everything above in its place."""
    properties = SimpleNamespace(name="fake", total_memory=GPU_MEMORY, uuid="0", major=9, minor=0)
    answers = {
        "is_available": True,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "device_count": 1,
        "current_device": 0,
        "get_device_capability": (9, 0),
        "get_device_properties": properties,
        "mem_get_info": (GPU_MEMORY, GPU_MEMORY),
        "current_stream": Stream(),
        "get_rng_state": np.zeros(16),
        "set_rng_state": None,
        "set_device": None,
        "reset_peak_memory_stats": None,
        "_lazy_init": None,
    }
    for name, value in answers.items():
        setattr(torch.cuda, name, lambda *args, value=value, **kwargs: value)
    torch.cuda.Event, torch.cuda.Stream = Event, Stream  # type: ignore[misc]
    torch.cuda.stream = lambda stream: nullcontext()
    torch.cuda.synchronize = torch.accelerator.synchronize = _synchronize
    torch.cuda.nccl.version = lambda: (0, 0, 0)
    torch.amp.grad_scaler.amp_definitely_not_available = lambda: False
    torch.backends.cudnn.is_acceptable = lambda tensor: False
    FakeTensorMode.avoid_device_init = property(lambda mode: True)  # type: ignore[assignment]
    FakeTensor.__deepcopy__ = lambda tensor, memo: tensor.detach().clone()
    FakeTensor.tolist = _tolist  # type: ignore[method-assign]
    nn.Module.to = _to  # type: ignore[assignment,method-assign]
    torch.lstm = _lstm
    # They compare or reorder what other processes have, in memory that fake tensors lack.
    ddp._verify_param_shape_across_processes = lambda *args: None
    c10d.Reducer._rebuild_buckets = _rebuild_buckets
    sharded.device_mesh = mesh_with_values
    c10d.Logger.set_runtime_stats_and_log = lambda logger: None


_change_torch()
