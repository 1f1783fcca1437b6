"""Dividing the cores of one machine among its ranks: pure, and blind to masks and quotas.

A rank's home is a NUMA node: the one its GPU is on, or else the one with most cores per rank left.
That maximises the smallest share (D'Hondt's method of apportionment). Sockets are compared first,
then their nodes. Cores are then divided evenly, for synchronous training goes at the pace of the
smallest share:

* each node of a socket among the ranks at home there, if the shares of the socket come out even:
  then no rank straddles two nodes;
* else the socket among its ranks, each getting cores of its own node first. On a DGX A100, whose
  GPUs are on four of eight nodes, every rank so has 16 cores of its GPU's socket instead of 8;
* the machine, where a socket has fewer cores than ranks, or no rank at all. In a run on GPUs,
  though, a socket that none of them is on stays idle: a rank would gain its cores and pay for them
  at every access to the other socket's memory. Evenness alone never makes a rank straddle sockets.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import TypeVar

from ttt.machine.topology import Core

T = TypeVar("T")
Node = int | None  # None: the machine does not report its nodes
Distances = Mapping[int, Mapping[int, int]]
_Sockets = dict[int, dict[Node, list[Core]]]


@dataclass(frozen=True, slots=True)
class Part:
    """The logical CPUs of one rank, and what decided, in a few words."""

    cpus: frozenset[int]
    why: str


@dataclass(frozen=True, slots=True)
class _Area:
    """Cores to divide evenly among ranks."""

    name: str
    cores: list[Core]
    ranks: list[int]


def divide(
    cores: Sequence[Core], distances: Distances, ranks: int, gpus: Sequence[int | None]
) -> list[Part]:
    """Divide cores among ranks, at least one for each.

    Args:
        cores: What there is to divide, in the order it is dealt out; none of them is cut.
        distances: As in `Topology`.
        ranks: How many to divide it among; no more than there are cores.
        gpus: NUMA node of the GPU of rank 0, 1, ...; None: unknown. Ranks beyond have no GPU.

    Returns:
        The part of each rank. Parts are disjoint.
    """
    sockets = _sockets(cores)
    room = {node: len(here) for nodes in sockets.values() for node, here in nodes.items()}
    known = [gpu if gpu in room or gpu in distances else None for gpu in gpus[:ranks]]
    wanted = [*known, *[None] * (ranks - len(known))]
    homes = _homes(sockets, [_choices(room, distances, node) for node in wanted])
    areas = _areas(sockets, homes, idle=any(node is not None for node in known))
    parts = {}
    for area in areas:
        count = len(area.ranks)
        how = f"all of {area.name}" if count == 1 else f"{area.name} divided by {count}"
        for rank, own in _deal(area, homes, sockets).items():
            why = _why(wanted[rank], homes[rank], has_gpu=rank < len(known))
            cpus = frozenset(chain.from_iterable(core.cpus for core in own))
            parts[rank] = Part(cpus, f"{why}: {how}")
    return [parts[rank] for rank in range(ranks)]


def cut(things: Sequence[T], count: int) -> list[Sequence[T]]:
    """Cut a sequence into contiguous pieces whose lengths differ by at most one, longest first."""
    size, longer = divmod(len(things), count)
    starts = [size * i + min(i, longer) for i in range(count + 1)]
    return [things[starts[i] : starts[i + 1]] for i in range(count)]


def _sockets(cores: Sequence[Core]) -> _Sockets:
    """Cores by socket and node, both ascending.

    A node belongs to the lowest of its sockets: with NPS0 a node spans two of them, and a virtual
    machine may call every core a socket.
    """
    nodes: dict[Node, list[Core]] = {}
    for core in cores:
        nodes.setdefault(core.node, []).append(core)
    sockets: _Sockets = {}
    for node in sorted(nodes, key=_ascending):
        socket = min(_ascending(core.socket) for core in nodes[node])
        sockets.setdefault(socket, {})[node] = nodes[node]
    return dict(sorted(sockets.items()))


def _ascending(number: int | None) -> int:
    return -1 if number is None else number


def _choices(room: Mapping[Node, int], distances: Distances, node: Node) -> list[Node]:
    """The nodes with CPUs that are nearest to a node; all of them if that is unknown."""
    if node is None or node in room:
        return list(room) if node is None else [node]
    far = {there: inf if there is None else distances[node].get(there, inf) for there in room}
    return [there for there in room if far[there] == min(far.values())]


def _homes(sockets: _Sockets, choices: Sequence[Sequence[Node]]) -> list[Node]:
    """The node each rank belongs on; the ranks with the least choice choose first."""
    socket_of = {node: nodes for nodes in sockets.values() for node in nodes}
    taken: Counter[Node] = Counter()

    def left(node: Node) -> tuple[float, float]:
        """Cores per rank, if one more came, of its socket and of the node."""
        socket = socket_of[node]
        cores, ranks = sum(map(len, socket.values())), sum(taken[other] for other in socket)
        return cores / (ranks + 1), len(socket[node]) / (taken[node] + 1)

    homes: list[Node] = [None] * len(choices)
    for rank in sorted(range(len(choices)), key=lambda rank: len(choices[rank])):
        homes[rank] = max(choices[rank], key=left)
        taken[homes[rank]] += 1
    # Ranks that could be anywhere: neighbours exchange most, so they stay neighbours.
    free = [rank for rank, nodes in enumerate(choices) if len(nodes) == len(socket_of)]
    ordered = sorted((homes[rank] for rank in free), key=list(socket_of).index)
    for rank, node in zip(free, ordered, strict=True):
        homes[rank] = node
    return homes


def _areas(sockets: _Sockets, homes: Sequence[Node], *, idle: bool) -> list[_Area]:
    """Which cores are divided among which ranks; `idle` allows sockets that are home to no rank."""
    areas = []
    for socket, nodes in sockets.items():
        at = {node: [rank for rank, home in enumerate(homes) if home == node] for node in nodes}
        cores, ranks = list(chain(*nodes.values())), sorted(chain(*at.values()))
        shares = chain(*(cut(nodes[node], len(at[node])) for node in nodes if at[node]))
        sizes = {len(share) for share in shares}
        if all(at.values()) and min(sizes) > 0 and max(sizes) - min(sizes) <= 1:
            areas += [_Area(_named("node", node), nodes[node], at[node]) for node in nodes]
        elif 0 < len(ranks) <= len(cores):
            areas.append(_Area(_named("socket", socket), cores, ranks))
        elif ranks or not idle:
            everything = chain.from_iterable(chain(*nodes.values()) for nodes in sockets.values())
            return [_Area("the machine", list(everything), list(range(len(homes))))]
    return areas


def _deal(area: _Area, homes: Sequence[Node], sockets: _Sockets) -> dict[int, list[Core]]:
    """Even parts of an area: of the rank's own node first, then of its socket, then of the rest."""
    socket_of = {node: socket for socket, nodes in sockets.items() for node in nodes}
    even = cut(area.cores, len(area.ranks))
    size = {rank: len(part) for rank, part in zip(area.ranks, even, strict=True)}
    parts: dict[int, list[Core]] = {}
    for node in {homes[rank]: None for rank in area.ranks}:
        sharing = [rank for rank in area.ranks if homes[rank] == node]
        near = [core for core in area.cores if core.node == node]
        for rank, part in zip(sharing, cut(near, len(sharing)), strict=True):
            parts[rank] = list(part[: size[rank]])
    rest = [core for core in area.cores if not any(core in part for part in parts.values())]
    for anywhere in (False, True):
        for rank in area.ranks:
            fits = [c for c in rest if anywhere or socket_of[c.node] == socket_of[homes[rank]]]
            more = fits[: size[rank] - len(parts[rank])]
            parts[rank] += more
            rest = [core for core in rest if core not in more]
    return parts


def _why(gpu: Node, home: Node, *, has_gpu: bool) -> str:
    if not has_gpu:
        return "no GPU"
    if gpu is None or home is None:
        return "GPU on an unknown node"
    if gpu == home:
        return f"GPU on node {gpu}"
    return f"GPU on node {gpu} without a usable CPU, nearest is node {home}"


def _named(kind: str, number: int | None) -> str:
    return "the machine" if number is None or number < 0 else f"{kind} {number}"
