"""How checks are made: what a check is, what it may know, and how its two halves run.

Knows no check, and no torch. The table of all checks is in `ttt.doctor.checks`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from ttt import config
from ttt.distributed.rank import Placement
from ttt.doctor.findings import Finding, Gather, Observation, failure, names
from ttt.schema.run import RunConfig
from ttt.signals import obey

if TYPE_CHECKING:
    from ttt.doctor.device import Guard

T = TypeVar("T")


class Stage(Enum):
    """When `look` runs, and what its errors mean."""

    local = auto()  # before the ranks meet, without a configuration: an error is a finding
    joined = auto()  # once the ranks have met, on each rank by itself: an error is a finding
    device = auto()  # the same for the device of each rank, under the eyes of a `Guard`
    collective = auto()  # all ranks exchange something: an error ends the examination


@dataclass(frozen=True, slots=True)
class Failed:
    """A measurement that raised, in a line."""

    reason: str


def alone(value: Any) -> list[Any]:
    """The `Gather` of a process without others."""
    return [value]


@dataclass(frozen=True)
class Context:
    """What the checks of this rank may know.

    Attributes:
        placement: This rank; None for a process that no launcher started.
        run: The configuration; the default one before the ranks have met.
        problems: Why `ttt run` would refuse it: sentences that each end with what to type instead.
        looks: The module that knows the kind of its data set; None for a user's own.
        gather: Every rank's value, in rank order, on every rank.
        guard: Makes the checks of stage `device`; None without torch.
        facts: Of this rank: by the check's name, its facts or Failed.
        seen: The same of all ranks, without those where the check broke.
    """

    placement: Placement | None
    run: RunConfig = field(default_factory=RunConfig)
    problems: Sequence[str] = ()
    looks: str | None = None
    gather: Gather = alone
    guard: "Guard | None" = None
    facts: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, list[Observation[Any]]] = field(default_factory=dict)

    @property
    def place(self) -> Placement:
        """This rank; the only one, for a process that no launcher started."""
        return self.placement or Placement()

    @property
    def launched(self) -> bool:
        """Whether a launcher started this process."""
        return self.placement is not None

    def joined(self, message: dict[str, Any], gather: Gather = alone) -> "Context":
        """The context once the ranks have met; it keeps the facts that are there.

        Args:
            message: See `ttt.doctor.__main__`.
            gather: Every rank's value, in rank order, on every rank.
        """
        run, problems, looks = config.load(message["config"]), message["problems"], message["looks"]
        return replace(self, run=run, problems=problems, looks=looks, gather=gather)


@dataclass(frozen=True, slots=True)
class Check:
    """A row of the table.

    Attributes:
        name: Unique; findings about the check itself carry it.
        stage: When `look` runs.
        look: Measures on one rank and returns facts, a small picklable value.
        judge: Turns the facts of all ranks into findings; pure, and the same on every rank.
        after: Another check whose `look` must run before this one's, although its row is below.
    """

    name: str
    stage: Stage
    look: Callable[[Context], Any]
    judge: Callable[[Sequence[Observation[Any]], Context], Iterable[Finding]]
    after: str | None = None


def host() -> str:
    """This node: SLURM's name, which differs for nodes that share a machine, or its own."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def attempt(look: Callable[[], T]) -> T | Failed:
    """Measure; an error becomes a value, so that it neither stops other checks nor hangs peers."""
    try:
        return look()
    except Exception as error:  # of any kind: the other checks are worth having
        obey()
        return Failed(f"{type(error).__name__}: {error}".partition("\n")[0])


def look_locally(context: Context, checks: Iterable[Check]) -> None:
    """Make the looks of stage `local`; the facts stay in the context.

    Args:
        context: Of this rank.
        checks: All checks, or some.
    """
    for check in checks:
        if check.stage is Stage.local:
            context.facts[check.name] = _looked(check, context)


def examine(context: Context, checks: Sequence[Check]) -> Iterator[Finding]:
    """Go through checks in order; every rank calls this and comes to the same findings.

    Args:
        context: Of this rank.
        checks: The same on every rank. What `look_locally` has found is not measured again.
    """
    by_name = {check.name: check for check in checks}
    for check in checks:
        for one in (check.after and by_name[check.after], check):
            if one and one.name not in context.facts:
                context.facts[one.name] = _looked(one, context)
        yield from _judged(check, context)


def _looked(check: Check, context: Context) -> Any:
    if check.stage is Stage.collective:
        return check.look(context)
    if check.stage is Stage.device:
        assert context.guard is not None
        return context.guard.look(check.name, lambda: check.look(context))
    return attempt(lambda: check.look(context))


def _judged(check: Check, context: Context) -> Iterator[Finding]:
    gathered = context.gather((host(), context.facts[check.name]))
    every = [Observation(rank, where, facts) for rank, (where, facts) in enumerate(gathered)]
    broken = [one for one in every if isinstance(one.facts, Failed)]
    seen = [one for one in every if not isinstance(one.facts, Failed)]
    context.seen[check.name] = seen
    if broken:
        ranks = names(f"{one.rank} on {one.host}" for one in broken)
        yield failure(check.name, f"not examined on rank {ranks}: {broken[0].facts.reason}", None)
    if seen:
        yield from check.judge(seen, context)
