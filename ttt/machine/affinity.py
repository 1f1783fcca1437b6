"""The share of a machine that each of its ranks gets: CPUs to run on, threads to compute with.

All of it but `bind` is pure. It takes the machine, what the ranks may use of it and where their
GPUs are, and returns shares; every rank computes the same ones.

Whole physical cores are divided, because two ranks on the SMT siblings of one core slow each other
down. With fewer cores than ranks the logical CPUs are divided, and with fewer CPUs than ranks
no rank is bound. `divide` decides which core goes where.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

from ttt.machine.divide import divide
from ttt.machine.topology import Core, Topology, format_cpus


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank gets of its machine.

    Attributes:
        cpus: The logical CPUs it may run on.
        threads: Compute threads for it: one per physical core, because arithmetic gains nothing
            from SMT siblings, and no more than the quota has time for.
        numa: The NUMA nodes of its CPUs, as far as they are known.
        gpu: Whether it drives a GPU.
        why: What decided, in a few words.
    """

    cpus: frozenset[int]
    threads: int
    numa: tuple[int, ...]
    gpu: bool
    why: str


def plan(
    topology: Topology,
    allowed: frozenset[int],
    local_size: int,
    gpus: Sequence[int | None] = (),
    quota: float | None = None,
) -> tuple[Share, ...]:
    """Divide the CPUs that the ranks of a node may use together.

    Args:
        topology: The machine.
        allowed: The logical CPUs they may use: the mask they were started with. The kernel keeps it
            within the control group's cpuset.
        local_size: How many ranks the node has.
        gpus: NUMA node of the GPU of local rank 0, 1, ...; None: unknown. Ranks beyond have no GPU.
        quota: How many CPUs' time the ranks may use together; None: no limit.

    Returns:
        The share of each local rank.
    """
    cores = _usable(topology, allowed)
    if len(allowed) < local_size:
        why = f"{_counted(len(allowed), 'CPU')} for {local_size} ranks: not bound"
        shares = [replace(_share(cores, allowed, why), threads=1)] * local_size
    elif len(cores) < local_size:
        cpus = [replace(core, cpus=(cpu,)) for core in cores for cpu in core.cpus]
        parts = divide(cpus, topology.distances, local_size, gpus)
        shares = [_share(cores, part.cpus, f"{part.why}, by logical CPU") for part in parts]
        # Even one with two CPUs has no core of its own: they may be on two, each with a neighbour.
        shares = [replace(share, threads=1) for share in shares]
    else:
        parts = divide(cores, topology.distances, local_size, gpus)
        shares = [_share(cores, part.cpus, part.why) for part in parts]
    return _limited(shares, gpus, quota)


def assign(
    topology: Topology,
    masks: Sequence[frozenset[int]],
    gpus: Sequence[int | None] = (),
    quota: float | None = None,
) -> tuple[Share, ...]:
    """Divide a node among ranks that a launcher may have bound already.

    No rank gets a CPU outside the mask it was started with: the launcher chose that mask. Ranks
    with one mask in common (Open MPI's default binds to a package, `srun --cpu-bind=ldoms` to a
    NUMA node) divide it among themselves; ranks that are `bound_apart` keep what they have.

    Args:
        topology: The machine.
        masks: The logical CPUs that local rank 0, 1, ... was started with.
        gpus: As in `plan`.
        quota: As in `plan`.

    Returns:
        The share of each local rank.
    """
    cores = _usable(topology, frozenset().union(*masks))
    if bound_apart(masks):
        kept = [_share(cores, mask, "bound by the launcher") for mask in masks]
        return _limited(kept, gpus, quota)
    shares: dict[int, Share] = {}
    for mask in dict.fromkeys(masks):
        ranks = [rank for rank, other in enumerate(masks) if other == mask]
        their_gpus = [gpus[rank] for rank in ranks if rank < len(gpus)]
        shares |= zip(ranks, plan(topology, mask, len(ranks), their_gpus), strict=True)
    return _limited([shares[rank] for rank in range(len(masks))], gpus, quota)


def bound_apart(masks: Sequence[frozenset[int]]) -> bool:
    """Whether a launcher (`srun --cpu-bind`, `mpirun --bind-to`) has bound the local ranks apart.

    So it is if no two of several ranks have the same mask. Masks that differ and overlap were
    chosen on purpose, too, and are left alone; equal masks do not set ranks apart.

    Args:
        masks: The logical CPUs that each local rank was started with.
    """
    return 1 < len(masks) == len(set(masks))


def bind(share: Share) -> bool:
    """Keep this process on the CPUs of its share, if the system lets it.

    Threads that libraries started while they were imported (OpenBLAS does) are bound too, and those
    to come inherit it. Memory follows: Linux places a page on the node that first writes to it.

    Returns:
        Whether it is bound. A sandbox may forbid it, or have taken the CPUs away by now.
    """
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), share.cpus)
        except ProcessLookupError:  # it ended in between
            continue
        except OSError:
            return False
    return True


def describe(topology: Topology, shares: Sequence[Share]) -> list[str]:
    """A line for the machine and one for each local rank, to be read by people."""
    rows = [
        (
            f"rank {rank}",
            f"GPU {rank}" if share.gpu else "no GPU",
            f"NUMA node{'s' * (len(share.numa) > 1)} {format_cpus(share.numa) or '?'}",
            f"cpus {format_cpus(share.cpus)}",
            _counted(share.threads, "thread"),
            f"({share.why})",
        )
        for rank, share in enumerate(shares)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [map(str.ljust, row, widths) for row in rows]
    return [_machine(topology), *("  ".join(line).rstrip() for line in lines)]


def _machine(topology: Topology) -> str:
    if not topology.cores:
        return "the system does not report its cores"
    sockets = {core.socket for core in topology.cores}
    nodes = {core.node for core in topology.cores}
    counts = [
        "? sockets" if None in sockets else _counted(len(sockets), "socket"),
        "? NUMA nodes" if None in nodes else _counted(len(nodes), "NUMA node"),
        _counted(len(topology.cores), "core"),
        _counted(sum(len(core.cpus) for core in topology.cores), "CPU"),
    ]
    return ", ".join(counts)


def _usable(topology: Topology, allowed: frozenset[int]) -> list[Core]:
    """What is allowed of each core, by its first CPU; a CPU of which nothing is known is a core."""
    known = frozenset(chain.from_iterable(core.cpus for core in topology.cores))
    cores = [
        replace(core, cpus=cpus)
        for core in topology.cores
        if (cpus := tuple(cpu for cpu in core.cpus if cpu in allowed))
    ]
    return sorted([*cores, *(Core((cpu,)) for cpu in allowed - known)], key=lambda c: c.cpus)


def _share(cores: Sequence[Core], cpus: frozenset[int], why: str) -> Share:
    own = [core for core in cores if not cpus.isdisjoint(core.cpus)]
    numa = tuple(sorted({core.node for core in own if core.node is not None}))
    return Share(cpus, threads=len(own), numa=numa, gpu=False, why=why)


def _limited(
    shares: Sequence[Share], gpus: Sequence[int | None], quota: float | None
) -> tuple[Share, ...]:
    """Shares with the threads that the quota has time for, and with their GPUs."""
    limited = []
    for rank, share in enumerate(shares):
        most = share.threads if quota is None else max(1, int(quota / len(shares)))
        why = share.why if share.threads <= most else f"{share.why}, quota of {quota:g} CPUs"
        limited.append(
            replace(share, threads=min(share.threads, most), gpu=rank < len(gpus), why=why)
        )
    return tuple(limited)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
