"""Checks that the data set is the configured one, and that each of its files can be read.

Knows no torch, and no kind of data set: the schema of each names a module that does (`looks`).
"""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt.distributed.rank import Placement
from ttt.doctor.findings import Finding, Observation, failure, ok, warning
from ttt.errors import encodable, one_line
from ttt.schema.run import RunConfig

_LISTED = 20  # bad files in the report; the data has as many
_NAME = "data files"


@dataclass(frozen=True, slots=True)
class Contents:
    """What one rank found in the data set as its node sees it.

    Attributes:
        faults: A sentence for each thing that is wrong with the set; only from a node's first rank.
        read: Things that this rank looked at.
        what: What they are, in the plural.
        advice: What to do about bad ones.
        bad: Name and reason of the first bad ones.
        count: How many are bad.
        skipped: Whether a run goes on without them.
    """

    faults: Sequence[str]
    read: int
    what: str
    advice: str
    bad: Sequence[tuple[str, str]]
    count: int
    skipped: bool


def look(run: RunConfig, looks: str | None, place: Placement) -> Contents | None:
    """Examine this rank's part of the set, the ranks of a node sharing it; None if there is none.

    Args:
        run: What would be run.
        looks: The module that knows its kind of data set; None for a user's own.
        place: This rank.
    """
    if looks is None or not Path(run.data.root or "-").is_dir():
        return None
    module = importlib.import_module(looks)
    wrong = module.faults(run.data) if place.local_rank == 0 else []
    skipped = getattr(run.data, "on_error", "error") == "skip"
    seen = module.examined(run.data, place.local_rank, place.local_size)
    if seen is None:
        return Contents(wrong, 0, "files", "", (), 0, skipped)
    advice, bad = seen.remedy(2), seen.bad[:_LISTED]
    faults = [*wrong, *seen.wrong]
    return Contents(faults, seen.read, seen.what, advice, bad, len(seen.bad), skipped)


def judge(seen: Sequence[Observation[Contents | None]]) -> Iterator[Finding]:
    """What is wrong with the set, on any node."""
    known = [(one.host, one.facts) for one in seen if one.facts]
    if not known:
        return
    for sentence in dict.fromkeys(fault for _, one in known for fault in one.faults):
        for line in sentence.split("\n"):
            problem, _, advice = one_line(line).rpartition("; ")
            yield failure("data set", problem or advice, advice if problem else None)
    hosts = list(dict.fromkeys(host for host, _ in known))
    counts = {host: sum(one.count for at, one in known if at == host) for host in hosts}
    worst = max(hosts, key=lambda host: counts[host])
    parts = [one for host, one in known if host == worst]
    read, what = sum(one.read for one in parts), parts[0].what
    bad = [pair for one in parts for pair in one.bad]
    data = {"read": read, "bad": counts, "listed": [list(map(encodable, pair)) for pair in bad]}
    if not counts[worst]:
        if read:
            yield ok(_NAME, f"{read:,} {what} examined, all of them can be read", **data)
        return
    where = f" on {worst}" if len(hosts) > 1 else ""
    rows = [f"{one_line(name).rstrip(',')}: {one_line(why)}" for name, why in bad[:_LISTED]]
    rest = counts[worst] - len(rows)
    rows += [f"and {rest:,} more"] if rest else []
    summary = f"{counts[worst]:,} of {read:,} {what} cannot be read{where}:"
    text = "\n".join([summary, *rows])
    if parts[0].skipped:
        yield warning(_NAME, text, "replace them; a run skips them and counts them", **data)
    else:
        advice = next(one.advice for one in parts if one.count)
        yield failure(_NAME, text, advice, **data)
