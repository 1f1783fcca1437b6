"""How fast the processes exchange what training exchanges. Measures; judges nothing.

Sizes and the bus bandwidth are those of NVIDIA's nccl-tests, so that numbers can be compared with
a cluster's acceptance tests.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ttt.distributed.axis import gather_into
from ttt.protocols import World

_SECONDS = 0.2  # for one operation at one size
_ROUNDS = 20  # at most
_ELEMENT = 4  # bytes of a float32
_NCCL_SECONDS = 60  # NCCL that cannot connect is given up; on 1000 nodes it takes 10 to 20 s
_LINK_BYTES = {"gloo": 4 << 20, "nccl": 64 << 20}  # long against the latency, short for a person
_LINK_ROUNDS = 3
_LINK_MESSAGES = 4

Start = Callable[[], dist.Work | None]


@dataclass(frozen=True, slots=True)
class Timing:
    """One collective at one size.

    Attributes:
        operation: "all-reduce", "all-gather" or "all-to-all".
        bytes: Size as nccl-tests counts it: what is reduced; what each rank has in the end; what
            each rank sends, its own part included.
        seconds: Mean of the slowest rank.
        bus_bytes_per_s: See `bus`.
    """

    operation: str
    bytes: int
    seconds: float
    bus_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one backend does.

    Attributes:
        backend: "gloo" or "nccl".
        timings: By operation and size.
        links: Bytes per second that each rank gets from the rank before it, the first from the
            last; one link at a time is busy at each of its ends.
    """

    backend: str
    timings: tuple[Timing, ...]
    links: tuple[float, ...]


def bus(operation: str, bytes_: int, seconds: float, ranks: int) -> float:
    """Bus bandwidth: what each rank's own link carries, if the algorithm is a perfect one.

    nccl-tests, doc/PERFORMANCE.md: size / time, times 2 (n - 1) / n for all-reduce and (n - 1) / n
    for all-gather and all-to-all.

    Returns:
        Bytes per second.
    """
    transfers = 2 if operation == "all-reduce" else 1
    return bytes_ / seconds * transfers * (ranks - 1) / ranks


def gloo(world: World, sizes: Sequence[int]) -> Measured:
    """Measure gloo between CPUs.

    Args:
        world: At least two processes, joined on the CPU.
        sizes: Bytes; rounded up to what divides among the ranks, where an operation divides it.
    """
    return _measure(world, "gloo", sizes, torch.device("cpu"), None)


def nccl(world: World, sizes: Sequence[int], gpu: torch.device) -> Measured | str:
    """Measure NCCL between GPUs.

    Args:
        world: At least two processes, joined on the CPU, each with a GPU.
        sizes: Bytes; rounded up to what divides among the ranks, where an operation divides it.
        gpu: This process's.

    Returns:
        The measurement, or NCCL's own error where it could not connect them.
    """
    torch.cuda.set_device(gpu)
    with _nccl_group() as group:
        error = None
        try:
            dist.all_reduce(torch.zeros(1, device=gpu), group=group)
            torch.cuda.synchronize(gpu)
        except RuntimeError as raised:  # torch's DistBackendError is one
            error = str(raised)
        # Over gloo: all ranks learn whether one of them failed.
        errors = [one for one in world.gather(error) if one]
        return errors[0] if errors else _measure(world, "nccl", sizes, gpu, group)


@contextmanager
def _nccl_group() -> Iterator[dist.ProcessGroup]:
    """A group that raises when NCCL does not answer; left alone its watchdog ends the process."""
    name = "TORCH_NCCL_BLOCKING_WAIT"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        group = dist.new_group(backend="nccl", timeout=timedelta(seconds=_NCCL_SECONDS))
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before
    assert group is not None
    yield group
    dist.destroy_process_group(group)


def _measure(
    world: World,
    backend: str,
    sizes: Sequence[int],
    device: torch.device,
    group: dist.ProcessGroup | None,
) -> Measured:
    timings = []
    for operation, make in _OPERATIONS.items():
        for size in sizes:
            parts = 1 if operation == "all-reduce" else world.size
            elements = -(-size // (_ELEMENT * parts)) * parts
            buffer = torch.zeros(elements, device=device)
            seconds = _time(world, make(buffer, world.size, group), device)
            bytes_ = elements * _ELEMENT
            rate = bus(operation, bytes_, seconds, world.size)
            timings.append(Timing(operation, bytes_, seconds, rate))
    links = _links(world, _LINK_BYTES[backend], device, group)
    return Measured(backend, tuple(timings), links)


def _all_reduce(buffer: Tensor, ranks: int, group: dist.ProcessGroup | None) -> Start:
    return lambda: dist.all_reduce(buffer, group=group, async_op=True)


def _all_gather(buffer: Tensor, ranks: int, group: dist.ProcessGroup | None) -> Start:
    part = torch.zeros_like(buffer[: len(buffer) // ranks])
    return lambda: gather_into(buffer, part, group=group, async_op=True)


def _all_to_all(buffer: Tensor, ranks: int, group: dist.ProcessGroup | None) -> Start:
    sent = torch.zeros_like(buffer)
    return lambda: dist.all_to_all_single(buffer, sent, group=group, async_op=True)


_OPERATIONS = {"all-reduce": _all_reduce, "all-gather": _all_gather, "all-to-all": _all_to_all}


def _time(world: World, start: Start, device: torch.device) -> float:
    """Mean seconds of one operation on the rank where it took longest."""
    _repeat(start, 1, device)  # connections and buffers are made
    begin = time.perf_counter()
    _repeat(start, 1, device)
    estimate = time.perf_counter() - begin
    rounds = world.agree(max(1, min(_ROUNDS, int(_SECONDS / estimate))))
    world.barrier()
    begin = time.perf_counter()
    _repeat(start, rounds, device)
    return max(world.gather((time.perf_counter() - begin) / rounds))


def _repeat(start: Start, rounds: int, device: torch.device) -> None:
    """On a GPU operations follow each other as in training: the host waits for the last only."""
    if device.type == "cuda":
        works = [start() for _ in range(rounds)]
        torch.cuda.synchronize(device)
        del works
        return
    for _ in range(rounds):
        work = start()
        assert work is not None
        work.wait()


def _links(
    world: World, size: int, device: torch.device, group: dist.ProcessGroup | None
) -> tuple[float, ...]:
    """Bytes per second of every link of the ring 0 -> 1 -> ... -> 0, at the receiving rank."""
    buffer = torch.zeros(size // _ELEMENT, device=device)
    best = 0.0
    for _ in range(1 + _LINK_ROUNDS):  # in the first, connections are made
        received = 0.0
        for phase in range(3):
            received = max(received, _turn(world, phase, buffer, device, group))
        best = max(best, received)
    return tuple(world.gather(best))


def _turn(
    world: World,
    phase: int,
    buffer: Tensor,
    device: torch.device,
    group: dist.ProcessGroup | None,
) -> float:
    """One of three turns, in which a rank sends to the next, receives, or rests.

    Even ranks send, then odd ones; with an odd number of ranks the last has a turn of its own.
    Returns the bytes per second received, 0 for nothing.
    """
    rank, after = world.rank, (world.rank + 1) % world.size
    before = (world.rank - 1) % world.size
    world.barrier()
    begin = time.perf_counter()
    if turn_of(rank, world.size) == phase:
        sends = [dist.P2POp(dist.isend, buffer, after, group)]
        _repeat_pairs(sends, device)
    elif turn_of(before, world.size) == phase:
        _repeat_pairs([dist.P2POp(dist.irecv, buffer, before, group)], device)
        seconds = time.perf_counter() - begin
        return _LINK_MESSAGES * buffer.numel() * _ELEMENT / seconds
    return 0.0


def turn_of(rank: int, ranks: int) -> int:
    """When a rank sends to the next one, so that no rank sends and receives at once."""
    return 2 if ranks % 2 and rank == ranks - 1 else rank % 2


def _repeat_pairs(operations: list[dist.P2POp], device: torch.device) -> None:
    for _ in range(_LINK_MESSAGES):
        for work in dist.batch_isend_irecv(operations):
            work.wait()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
