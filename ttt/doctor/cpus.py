"""Which cores each rank computes on, as `ttt run` would divide them, and whether there are enough.

Knows no torch.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ttt.distributed.rank import Placement, gpu_index
from ttt.doctor.findings import Finding, Observation, names, ok, warning
from ttt.doctor.gpus import Gpus
from ttt.machine import affinity, topology
from ttt.machine.quota import cpu_quota
from ttt.schema.run import RunConfig


@dataclass(frozen=True, slots=True)
class Cpus:
    """What one rank may compute on.

    Attributes:
        node: Shared with the ranks of its node, and no others.
        local_rank: Its place among them.
        mask: The logical CPUs it was started with.
        quota: CPU seconds a second that its container allows; None without a limit.
        topology: Of the machine; from the first rank of a node alone, None from the others.
        gpu_nodes: NUMA nodes of the GPUs it sees.
    """

    node: str
    local_rank: int
    mask: frozenset[int]
    quota: float | None
    topology: topology.Topology | None
    gpu_nodes: tuple[int | None, ...]


def look(placement: Placement, host: str, seen: Gpus | None) -> Cpus:
    """What this rank was given.

    Args:
        placement: This rank.
        host: Its node's name.
        seen: The GPUs it sees; None where that could not be found out.
    """
    # Two agents of torchrun on one machine, as in a rehearsal of two nodes, are two nodes.
    node = f"{host}/{os.environ.get('GROUP_RANK', '')}"
    return Cpus(
        node,
        placement.local_rank,
        frozenset(os.sched_getaffinity(0)),
        cpu_quota(),
        None if placement.local_rank else topology.read(),
        topology.gpu_nodes([gpu.bus_id for gpu in seen.visible]) if seen else (),
    )


def judge(
    seen: Sequence[Observation[Cpus]], run: RunConfig, *, launched: bool
) -> Iterator[Finding]:
    """The division, and where it is too thin.

    Args:
        seen: What the ranks were given.
        run: Says whether ttt binds at all, and whether GPUs are used.
        launched: Whether these are the ranks of a run; a process alone is shown what a process for
            each of its GPUs would get.
    """
    nodes: dict[str, list[Observation[Cpus]]] = defaultdict(list)
    for one in sorted(seen, key=lambda one: one.facts.local_rank):
        nodes[one.facts.node].append(one)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for peers in nodes.values():
        machine = peers[0].facts.topology
        if machine is None:  # its first rank could not find out
            continue
        shares = _shares(peers, machine, run, launched=launched)
        alike[tuple(affinity.describe(machine, shares))].append(peers[0].host)
        yield from _thin(peers[0].host, peers, shares)
        yield from _far(peers[0].host, peers, shares)
    for lines, hosts in alike.items():
        head = f"on {names(dict.fromkeys(hosts))}: " if len(nodes) > 1 else ""
        tail = "\nbinding=off: the launcher decides instead" if run.binding == "off" else ""
        yield ok("CPU binding", head + "\n".join(lines) + tail, hosts=hosts, lines=lines)


def _shares(
    peers: Sequence[Observation[Cpus]],
    machine: topology.Topology,
    run: RunConfig,
    *,
    launched: bool,
) -> tuple[affinity.Share, ...]:
    first = peers[0].facts
    if launched:
        masks = [one.facts.mask for one in peers]
        own = () if run.device == "cpu" else _own_nodes(peers)
        return affinity.assign(machine, masks, own, first.quota)
    gpus = () if run.device == "cpu" else first.gpu_nodes
    return affinity.plan(machine, first.mask, max(1, len(gpus)), gpus, first.quota)


def _own_nodes(peers: Sequence[Observation[Cpus]]) -> tuple[int | None, ...]:
    """The NUMA node of each rank's own GPU, up to the first rank that has none."""
    own: list[int | None] = []
    for one in peers:
        index = gpu_index(one.facts.local_rank, len(one.facts.gpu_nodes))
        if index is None:
            break
        own.append(one.facts.gpu_nodes[index])
    return tuple(own)


def _thin(
    host: str, peers: Sequence[Observation[Cpus]], shares: Sequence[affinity.Share]
) -> Iterator[Finding]:
    allowed = frozenset[int]().union(*(one.facts.mask for one in peers))
    quota = peers[0].facts.quota
    available = len(allowed) if quota is None else min(len(allowed), quota)
    if available < len(shares):
        yield warning(
            "CPUs",
            f"{len(shares)} ranks on {host} share {available:g} CPUs: they wait for each other",
            "fewer processes per node, or more CPUs for each (srun --cpus-per-task)",
            cpus=available,
            ranks=len(shares),
        )


def _far(
    host: str, peers: Sequence[Observation[Cpus]], shares: Sequence[affinity.Share]
) -> Iterator[Finding]:
    """Ranks that a launcher has bound away from their GPU; ttt leaves its decision alone."""
    nodes = _own_nodes(peers)
    far = [
        f"rank {one.rank} (cores of NUMA node {names(share.numa)}, GPU on NUMA node {node})"
        for one, share, node in zip(peers, shares, nodes, strict=False)
        if share.gpu and node is not None and share.numa and node not in share.numa
    ]
    if far:
        yield warning(
            "CPU binding",
            f"on {host} cores and GPU are on different NUMA nodes for {names(far)}",
            "leave binding to ttt (srun --cpu-bind=none, mpirun --bind-to none), or bind to the"
            " GPU's NUMA node (nvidia-smi topo -m)",
            far=far,
        )
