"""How far the clocks of the nodes are apart, and how certain that is. Needs a world, no torch.

Rank r's clock shows true time plus an offset o_r. Every rank notes when it begins and when it ends
a gathering. No gathering ends anywhere before it has begun everywhere, so for any two ranks

    begin_a - o_a < end_b - o_b,    hence    o_a - o_b > begin_a - end_b.

Taken from both sides, this is an interval that certainly holds the difference, however slow the
network is; more rounds shrink it to their intersection. (Cristian 1989, "Probabilistic clock
synchronization", assumes in addition that both ways take equally long: its estimate is the middle.)
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ttt.doctor.findings import Finding, Gather, Observation, failure, names, ok, warning

ROUNDS = 10
_FAR_SECONDS = 1.0  # logs of several nodes cannot be put in order any more
_APART_SECONDS = 0.05  # what a node that runs NTP or chrony keeps with ease

Stamps = Sequence[tuple[float, float]]  # (begin, end) of every round, by one rank's clock


@dataclass(frozen=True, slots=True)
class Offset:
    """A clock against rank 0's: `seconds` ahead of it, give or take `uncertainty`."""

    seconds: float
    uncertainty: float


def look(gather: Gather) -> Stamps:
    """The stamps of this rank; all ranks call this together."""
    stamps = []
    gather(None)  # all ranks are here, so that the rounds are short
    for _ in range(ROUNDS):
        begin = time.time()
        gather(None)
        stamps.append((begin, time.time()))
    return stamps


def offset(reference: Stamps, other: Stamps) -> Offset:
    """By how much one clock is ahead of another; see the head of this file."""
    both = list(zip(reference, other, strict=True))
    least = max(begin - reference_end for (_, reference_end), (begin, _) in both)
    most = min(end - reference_begin for (reference_begin, _), (_, end) in both)
    return Offset((least + most) / 2, (most - least) / 2)


def judge(seen: Sequence[Observation[Stamps]]) -> Iterator[Finding]:
    """Whether the nodes agree on what time it is."""
    first = {seen[0].host: Offset(0.0, 0.0)}
    for one in seen:
        first.setdefault(one.host, offset(seen[0].facts, one.facts))
    if len(first) == 1:
        yield ok(
            "clocks",
            "not compared: all ranks are on one node and use its clock",
            spread_s=None,
            uncertainty_s=None,
            why=dict.fromkeys(("spread_s", "uncertainty_s"), "there is only one node"),
        )
        return
    low = min(first, key=lambda host: first[host].seconds)
    high = max(first, key=lambda host: first[host].seconds)
    spread = first[high].seconds - first[low].seconds
    uncertainty = first[high].uncertainty + first[low].uncertainty
    apart = f"{spread * 1e3:.3g} ms ± {uncertainty * 1e3:.2g} ms apart"
    data = {
        "spread_s": spread,
        "uncertainty_s": uncertainty,
        "offsets_s": {host: one.seconds for host, one in first.items()},
    }
    if spread <= _APART_SECONDS:
        yield ok("clocks", f"{len(first)} nodes, {apart}", **data)
        return
    report = failure if spread > _FAR_SECONDS else warning
    yield report(
        "clocks",
        f"{apart}: {names([high])} is ahead of {names([low])}",
        "start chronyd or ntpd on both, and look at `chronyc tracking`",
        **data,
    )
