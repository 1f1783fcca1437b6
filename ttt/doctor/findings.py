"""What a check comes to: a level, a sentence, what to do, and the numbers behind it.

Knows no check.
"""

import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

Gather = Callable[[Any], list[Any]]
_NAMED = 6  # ranks or hosts in a sentence; the data has all of them
_PAIR_SHARE = 1 / 3  # of the faster of two


class Level(StrEnum):
    """How bad it is. Only a failure makes `ttt doctor` fail."""

    ok = "ok"
    warning = "warning"
    failure = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    Attributes:
        level: ok, warning or failure.
        name: What was looked at.
        text: What was found.
        advice: What to do about it; None where there is nothing to do.
        data: The numbers behind it, with the unit in the name. For each name with a None, in it or
            below it, `why` holds the reason.
    """

    level: Level
    name: str
    text: str
    advice: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation(Generic[T]):
    """What one rank found out.

    Attributes:
        rank: Which.
        host: Its node, by the scheduler's name where there is one.
        facts: A check's own.
    """

    rank: int
    host: str
    facts: T


def ok(name: str, text: str, **data: Any) -> Finding:
    """All is well."""
    return Finding(Level.ok, name, text, None, explained(data))


def warning(name: str, text: str, advice: str, **data: Any) -> Finding:
    """It will work, and not as well as it could, or the result will not be accepted."""
    return Finding(Level.warning, name, text, advice, explained(data))


def failure(name: str, text: str, advice: str | None, **data: Any) -> Finding:
    """A run would fail, or its numbers would be wrong."""
    return Finding(Level.failure, name, text, advice, explained(data))


def explained(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with `why` cut down to the names that have a None; without `why` if none has.

    Args:
        data: Of a finding. Its `why`, if any, maps names to the reason why they may be None.
    """
    kept = {name: value for name, value in data.items() if name != "why"}
    why = data.get("why", {})
    why = {name: why[name] for name, value in kept.items() if name in why and unknown(value)}
    return kept | {"why": why} if why else kept


def unknown(value: Any) -> bool:
    """Whether a value is None, or holds one."""
    if isinstance(value, Mapping):
        return any(map(unknown, value.values()))
    if isinstance(value, list | tuple):
        return any(map(unknown, value))
    return value is None


def by_host(seen: Sequence[Observation[T]]) -> dict[str, T]:
    """The facts of one rank of each node: the first."""
    first: dict[str, T] = {}
    for one in seen:
        first.setdefault(one.host, one.facts)
    return first


def per_rank(
    seen: Sequence[Observation[T]], **values: Callable[[T], Any]
) -> dict[str, dict[int, Any]]:
    """Numbers for the data of a finding: by their names, then by rank.

    Args:
        seen: What the ranks found out.
        values: How to get each from the facts of a rank.
    """
    return {name: {one.rank: get(one.facts) for one in seen} for name, get in values.items()}


def ranks(seen: Iterable[Observation[Any]]) -> str:
    """Some ranks for a sentence."""
    return names(f"rank {one.rank} on {one.host}" for one in seen)


def not_examined(name: str, reason: str | None, missing: str) -> Finding:
    """A check that has nothing to look at here.

    Args:
        name: Of the check.
        reason: Why.
        missing: The number that is None for this reason.
    """
    return ok(name, f"not examined: {reason}", **{missing: None, "why": {missing: reason}})


def names(items: Iterable[object]) -> str:
    """A list for a sentence, cut where it gets long."""
    words = [str(item) for item in items]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


def slow(rates: Mapping[K, float], share: float) -> dict[K, float]:
    """The keys with a rate far below the others', with their part of what they are compared with.

    From three values on, a rate is compared with the median. The median of two is their mean, which
    the slower of them is always below, and small differences are noise. So of two, the slower is
    compared with the faster and must be below a third: then it is also below half of the mean.

    Args:
        rates: Something measured alike everywhere, the more the better.
        share: Of the median, below 1: a lower rate is slow; not used for two.
    """
    if len(rates) < 2:
        return {}
    pair = len(rates) == 2
    compared = max(rates.values()) if pair else statistics.median(rates.values())
    limit = (_PAIR_SHARE if pair else share) * compared
    return {key: rate / compared for key, rate in rates.items() if rate < limit}


def reference(rates: Mapping[K, float]) -> str:
    """What `slow` compares these rates with, in words."""
    return "the median" if len(rates) > 2 else "the faster"
