"""What sets one process or machine of a run apart from the others. Pure."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from ttt.measurements import Rank

_SLOW = 1.15  # times the compute time of the median rank; equal machines differ by a few percent


@dataclass(frozen=True, slots=True)
class Stragglers:
    """Ranks that compute longer than most, for whom all others wait at every exchange.

    Attributes:
        names: Which, and on which hosts.
        compute_ms: Of the slowest of them.
        median_ms: Of all ranks.
    """

    names: str
    compute_ms: float
    median_ms: float


def stragglers(ranks: Iterable[Rank]) -> Stragglers | None:
    """Ranks above 1.15 times the median compute time; None without any, or if it is unknown.

    The median is the lower of the middle two: of two ranks, one can be slow.
    """
    known = {rank: rank.compute_ms for rank in ranks if rank.compute_ms is not None}
    if len(known) < 2:
        return None
    median = statistics.median_low(known.values())
    slow = [rank for rank, compute in known.items() if compute > _SLOW * median]
    if not slow:
        return None
    return Stragglers(names(slow), max(known[rank] for rank in slow), median)


def waiting_most(ranks: Iterable[Rank]) -> str | None:
    """The rank that waited for data half as long again as the median rank; None without such."""
    known = {rank: rank.data_wait_s for rank in ranks if rank.data_wait_s is not None}
    if len(known) < 2:
        return None
    worst = max(known, key=lambda rank: known[rank])
    return names([worst]) if known[worst] > 1.5 * statistics.median_low(known.values()) else None


def names(ranks: Iterable[Rank]) -> str:
    """As "rank 3 on node7, ranks 8, 9 on node8"."""
    hosts: dict[str | None, list[int]] = {}
    for rank in ranks:
        hosts.setdefault(rank.host, []).append(rank.rank)
    parts = []
    for host, numbers in hosts.items():
        of = f"{'rank' if len(numbers) == 1 else 'ranks'} {', '.join(map(str, sorted(numbers)))}"
        parts.append(of if host is None else f"{of} on {host}")
    return ", ".join(parts)
