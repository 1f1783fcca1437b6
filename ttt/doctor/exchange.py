"""Is the network what training needs: collectives at the benchmark's own message sizes, and links.

Measured in `ttt.distributed.bench`; here the sizes are worked out and the numbers judged. Needs
torch only to count a model's parameters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ttt import config
from ttt.distributed import bench
from ttt.distributed.bench import Measured, Timing
from ttt.distributed.parallelize import plan_of
from ttt.doctor.examination import Failed, attempt
from ttt.doctor.findings import Finding, Observation, failure, names, ok, reference, slow, warning
from ttt.protocols import World
from ttt.schema.run import RunConfig

LATENCY_BYTES = 4  # one number: the time is latency alone
FIRST_BUCKET_BYTES, BUCKET_BYTES = 1 << 20, 25 << 20  # DistributedDataParallel's defaults
_GRADIENT_BYTES = 4  # master weights are fp32, and so are their gradients
# gloo over loopback needs 0.1 ms, NCCL over Ethernet 0.05 ms, and a step has a handful of buckets:
# at this, a few of them cost what a whole step of a small model does.
_SLOW_SECONDS = 0.01
_BULK_BYTES = 1 << 20  # below this, time is mostly latency, and bandwidth means nothing
# 1 Gbit/s: a management network instead of the one for data. The usual reason for "two nodes are
# slower than one".
_SLOW_NETWORK = 0.125e9
_SHARE = 0.5  # of the median link of its kind: cables and lanes fail by halves
_SAME = 1.0  # NCCL that is slower than gloo over the same wires has not found its transport


@dataclass(frozen=True, slots=True)
class Collectives:
    """What gloo does with the messages of the model; the same on every rank.

    Attributes:
        sizes: Bytes of the messages.
        gloo: What it does.
        refused: Why the model cannot be built, if so; there is one size then.
    """

    sizes: Sequence[int]
    gloo: Measured
    refused: str | None = None


def look(world: World, run: RunConfig) -> Collectives | None:
    """Measure gloo; all ranks call this together. None for a process alone."""
    if world.size == 1:
        return None
    parameters = world.agree(attempt(lambda: parameter_bytes(run)))
    refused = parameters.reason if isinstance(parameters, Failed) else None
    sizes = message_sizes([] if isinstance(parameters, Failed) else parameters)
    return Collectives(sizes, bench.gloo(world, sizes), refused)


def look_nccl(
    world: World, device: torch.device, collectives: Collectives | None
) -> Measured | str | None:
    """Measure NCCL; all ranks call this together.

    Args:
        world: All ranks, joined on the CPU.
        device: Of this rank.
        collectives: What gloo does.

    Returns:
        What NCCL does, or the reason why it cannot connect the GPUs; None where a rank has no GPU.
    """
    if collectives is None or not all(world.gather(device.type == "cuda")):
        return None
    return bench.nccl(world, collectives.sizes, device)


def judge(seen: Sequence[Observation[Collectives | None]]) -> Iterator[Finding]:
    """Whether gloo is fast enough, and all its links are."""
    found = seen[0].facts
    if found is None:
        yield ok(
            "collectives",
            "not measured: there is only one process; to measure them, start several: torchrun"
            " --nproc-per-node 2 -m ttt doctor (srun and mpirun likewise)",
            sizes=None,
            why={"sizes": "there is only one process"},
        )
        return
    if found.refused:
        yield failure("model", f"cannot be built: {found.refused}", None)
    yield from _judge_backend(found.gloo, [one.host for one in seen])


def judge_nccl(
    seen: Sequence[Observation[Measured | str | None]], collectives: Collectives | None
) -> Iterator[Finding]:
    """Whether NCCL connects the GPUs, and is faster than gloo.

    Args:
        seen: What `look_nccl` gave; the same on every rank.
        collectives: What gloo does.
    """
    found = seen[0].facts
    if isinstance(found, str):
        yield refused(found)
    elif found is not None and collectives is not None:
        yield from _judge_backend(found, [one.host for one in seen], collectives.gloo)


def _judge_backend(
    measured: Measured, hosts: Sequence[str], gloo: Measured | None = None
) -> Iterator[Finding]:
    yield from judge_operations(measured, len(set(hosts)), gloo)
    yield from judge_links(measured, hosts)


def parameter_bytes(run: RunConfig) -> list[int]:
    """Bytes of the gradient of each parameter of the benchmark's model, in the model's order.

    Without embedding tables that are spread over the processes: their gradients are not averaged.

    Raises:
        TttError: The model cannot be built.
    """
    with torch.device("meta"):  # shapes only: the largest model takes no memory
        model: torch.nn.Module = config.instantiate("model", run.model)
    spread = tuple(f"{name}." for name in plan_of(model).swap)
    return [
        one.numel() * _GRADIENT_BYTES
        for name, one in model.named_parameters()
        if one.requires_grad and not name.startswith(spread)
    ]


def buckets(
    parameters: Sequence[int], first: int = FIRST_BUCKET_BYTES, cap: int = BUCKET_BYTES
) -> list[int]:
    """Bytes of each message in which DistributedDataParallel sends gradients, in order.

    From the last parameter to the first, about as gradients become ready; a bucket is sent when it
    has reached its size (Li et al. 2020, "PyTorch Distributed", arXiv:2006.15704, section 3.2.3).
    """
    sizes, size, limit = [], 0, first
    for one in reversed(parameters):
        size += one
        if size >= limit:
            sizes.append(size)
            size, limit = 0, cap
    return [*sizes, size] if size else sizes


def message_sizes(parameters: Sequence[int]) -> list[int]:
    """Bytes worth measuring: a single number, the first bucket, the largest other, everything."""
    found = buckets(parameters)
    return sorted({LATENCY_BYTES, *found[:1], *([max(found[1:])] if found[1:] else ()), sum(found)})


def judge_operations(
    measured: Measured, nodes: int, gloo: Measured | None = None
) -> Iterator[Finding]:
    """Whether the collectives of one backend are fast enough.

    Args:
        measured: Of this backend.
        nodes: How many machines the ranks are on.
        gloo: For NCCL, what gloo did, which it has to beat.
    """
    for operation in dict.fromkeys(one.operation for one in measured.timings):
        timings = [one for one in measured.timings if one.operation == operation]
        others = [one for one in gloo.timings if one.operation == operation] if gloo else []
        yield _judge_operation(measured.backend, operation, timings, others, nodes)


def _judge_operation(
    backend: str, operation: str, timings: Sequence[Timing], others: Sequence[Timing], nodes: int
) -> Finding:
    name = f"{operation}, {backend}"
    summary = "\n".join(_row(one) for one in timings)
    data = {
        "backend": backend,
        "operation": operation,
        "sizes": [
            {
                "bytes": one.bytes,
                "seconds": one.seconds,
                "algorithm_bytes_per_s": one.bytes / one.seconds,
                "bus_bytes_per_s": one.bus_bytes_per_s,
            }
            for one in timings
        ],
    }
    network = f"{backend.upper()}_SOCKET_IFNAME"
    if timings[0].seconds > _SLOW_SECONDS:
        return warning(
            name,
            f"{summary}\na single number takes {timings[0].seconds * 1e3:.0f} ms",
            "more processes than cores, or the wrong network: fewer processes, or"
            f" {network}=INTERFACE",
            **data,
        )
    bulk = timings[-1]
    if bulk.bytes >= _BULK_BYTES:
        if nodes > 1 and bulk.bus_bytes_per_s < _SLOW_NETWORK:
            return warning(
                name,
                f"{summary}\nslower than 1 Gbit/s Ethernet",
                f"{network}=INTERFACE of the fast network (ip -br address), on every node",
                **data,
            )
        if others and bulk.bus_bytes_per_s < _SAME * others[-1].bus_bytes_per_s:
            return warning(
                name,
                f"{summary}\nslower than gloo on the CPUs",
                "NCCL_DEBUG=INFO shows which transport it chose; look for NET/Socket",
                **data,
            )
    return ok(name, summary, **data)


def _row(one: Timing) -> str:
    """A row: size, time, and bus bandwidth where the size is enough for one."""
    milliseconds = f"{one.seconds * 1e3:>8.3g} ms"
    if one.bytes < 1 << 10:
        return f"{one.bytes:>4} B   {milliseconds}"
    mega = one.bytes >= 1 << 20
    size = f"{one.bytes / 2**20:>4.3g} MiB" if mega else f"{one.bytes / 2**10:>4.3g} KiB"
    return f"{size} {milliseconds} {one.bus_bytes_per_s / 1e9:>8.3g} GB/s"


def judge_links(measured: Measured, machines: Sequence[str]) -> Iterator[Finding]:
    """Whether one link is slower than others of its kind: inside a machine, or between two.

    Args:
        measured: Of one backend.
        machines: Where each rank is.
    """
    size = len(machines)
    for kind, inside in (("inside a node", True), ("between nodes", False)):
        rates = {
            rank: rate
            for rank, rate in enumerate(measured.links)
            if (machines[rank - 1] == machines[rank]) is inside
        }
        if not rates:
            continue
        name = f"links, {measured.backend}"
        low, high = min(rates.values()) / 1e9, max(rates.values()) / 1e9
        summary = f"{len(rates)} {kind}, {low:.3g} to {high:.3g} GB/s"
        data = {"kind": kind, "bytes_per_s": rates}
        behind = slow(rates, _SHARE)
        if not behind:
            yield ok(name, summary, **data)
            continue
        listed = [
            f"rank {(rank - 1) % size} on {machines[rank - 1]} to rank {rank} on {machines[rank]}"
            f" at {share:.0%} of {reference(rates)}"
            for rank, share in sorted(behind.items(), key=lambda item: item[1])
        ]
        yield warning(
            name,
            f"{summary}; slow: {names(listed)}",
            "look at cable, port and lanes there (ibstat, nvidia-smi topo -m, nvidia-smi nvlink)",
            slow=sorted(behind),
            **data,
        )


def refused(reason: str) -> Finding:
    """NCCL could not connect the GPUs."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    # The last line of NCCL's own is the reason; torch puts its place in the source before it.
    return failure(
        "NCCL",
        f"cannot connect the GPUs: {lines[-1] if lines else 'no reason given'}",
        "NCCL_DEBUG=INFO shows more; NCCL_SOCKET_IFNAME=INTERFACE if it chose the wrong network",
        said=reason,
    )
