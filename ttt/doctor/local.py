"""The checks that need no torch, in the order of the report: software, machine, network, files.

`early` are those that need no configuration: they are made before the processes meet, so that a
rank that cannot reach the others can still report what is wrong on its node.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ttt.distributed.rank import Placement
from ttt.doctor import contents, cpus, gpus, limits, network, reading, software, started, storage
from ttt.doctor.findings import Finding, Gather, Observation, failure, names, ok
from ttt.schema.run import RunConfig
from ttt.signals import obey

T = TypeVar("T")

Facts = dict[str, Any]  # of one rank: by the check's name, its facts or Failed


@dataclass(frozen=True, slots=True)
class Failed:
    """A measurement that raised, in a line."""

    reason: str


def attempt(look: Callable[[], T]) -> T | Failed:
    """Measure; a check that breaks is a finding, and neither stops other checks nor hangs peers."""
    try:
        return look()
    except Exception as error:  # whatever it is, the other checks are worth having
        obey()
        return Failed(f"{type(error).__name__}: {error}".partition("\n")[0])


class Everybody:
    """The facts of all ranks.

    Args:
        mine: Those of this rank.
        gather: Every rank's value, in rank order, on every rank.
    """

    def __init__(self, mine: Facts, gather: Gather) -> None:
        self._told: list[tuple[str, Facts]] = gather((host(), mine))
        self.size = len(self._told)

    def seen(self, name: str) -> list[Observation[Any]]:
        """What the ranks found out in one check, those left out where it broke."""
        return [one for one in self._all(name) if not isinstance(one.facts, Failed)]

    def judged(
        self, name: str, judge: Callable[[Sequence[Observation[Any]]], Iterator[Finding]]
    ) -> Iterator[Finding]:
        """The findings of one check, and where it broke."""
        broken = [one for one in self._all(name) if isinstance(one.facts, Failed)]
        if broken:
            ranks = names(f"{one.rank} on {one.host}" for one in broken)
            yield failure(name, f"not examined on rank {ranks}: {broken[0].facts.reason}", None)
        if seen := self.seen(name):
            yield from judge(seen)

    def _all(self, name: str) -> list[Observation[Any]]:
        return [
            Observation(rank, where, facts[name]) for rank, (where, facts) in enumerate(self._told)
        ]


def host() -> str:
    """This node: SLURM's name, which tells nodes apart that share a machine, or its own."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def early(placement: Placement | None) -> Facts:
    """What this rank can find out by itself."""
    place = placement or Placement()
    shown = attempt(lambda: gpus.look(place.local_rank))
    usable = None if isinstance(shown, Failed) else shown
    return {
        "versions": attempt(software.look),
        "launch": attempt(lambda: started.look(placement)),
        "GPUs": shown,
        "CPU binding": attempt(lambda: cpus.look(place, host(), usable)),
        "limits": attempt(limits.look),
        "host names": attempt(network.look),
    }


def examine(
    run: RunConfig, looks: str | None, placement: Placement | None, mine: Facts, gather: Gather
) -> Iterator[Finding]:
    """All of these checks; every rank calls this and comes to the same findings.

    Args:
        run: What would be run.
        looks: The module that knows its kind of data set; None for a user's own.
        placement: This rank; None for a process alone.
        mine: What `early` found on this rank.
        gather: Every rank's value, in rank order, on every rank.
    """
    everybody = Everybody(mine, gather)
    yield from judge_early(run, everybody, launched=placement is not None)
    yield from _way_to_rank_zero(everybody, gather)
    yield from _files(run, looks, placement or Placement(), everybody.size, gather)


def judge_configuration(run: RunConfig, problems: Sequence[str]) -> Iterator[Finding]:
    """Whether `ttt run` would start at all.

    Args:
        run: What would be run.
        problems: Sentences that each end with what to type instead.
    """
    for sentence in problems:
        problem, _, advice = sentence.rpartition("; ")
        text = f"`ttt run` refuses this configuration: {problem or advice}"
        yield failure("configuration", text, advice if problem else None)
    if not problems:
        yield ok("configuration", f"{run.benchmark.id}: `ttt run` would start it")


def judge_early(run: RunConfig, everybody: Everybody, *, launched: bool) -> Iterator[Finding]:
    """The findings of the checks of `early`."""
    yield from everybody.judged("versions", lambda seen: software.judge(seen, run))
    yield from everybody.judged("launch", started.judge)
    yield from everybody.judged("GPUs", lambda seen: gpus.judge(seen, run.device))
    yield from everybody.judged(
        "CPU binding", lambda seen: cpus.judge(seen, run, launched=launched)
    )
    yield from everybody.judged("limits", limits.judge)
    yield from everybody.judged("host names", network.judge_names)
    if seen := everybody.seen("host names"):
        yield from network.judge_ports(seen, launched=launched)


def _way_to_rank_zero(everybody: Everybody, gather: Gather) -> Iterator[Finding]:
    machines = {one.rank: one.facts for one in everybody.seen("host names")}
    if 0 not in machines or len({one.machine for one in machines.values()}) == 1:
        return
    zero = machines[0]
    addresses = Everybody({"rank 0's name": attempt(lambda: network.resolve(zero.name))}, gather)
    near = {rank for rank, one in machines.items() if one.machine == zero.machine}
    yield from addresses.judged(
        "rank 0's name",
        lambda seen: network.judge_way_to_rank_zero(zero.name, seen, near),
    )


def _files(
    run: RunConfig, looks: str | None, place: Placement, size: int, gather: Gather
) -> Iterator[Finding]:
    visible = storage.probe(run, place.rank, gather)
    mine = {
        "run_root": attempt(lambda: storage.look_runs(run)),
        "data set": attempt(lambda: storage.look_data(run)),
        "read rate": attempt(lambda: reading.look(run, place.rank, size)),
        "data files": attempt(
            lambda: contents.look(run, looks, place)
        ),  # last: it fills the page cache
    }
    made = getattr(run.data, "prepare", None) is not None
    everybody = Everybody(mine, gather)
    yield from everybody.judged("run_root", lambda seen: storage.judge_runs(seen, visible))
    yield from everybody.judged("data set", lambda seen: storage.judge_data(seen, made=made))
    yield from everybody.judged("data files", contents.judge)
    yield from everybody.judged("read rate", reading.judge)
    if seen := everybody.seen("read rate"):
        yield from reading.judge_cache(seen, run.clear_cache)
