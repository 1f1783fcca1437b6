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
        data: The numbers behind it, in units their names tell; null where not measured.
    """

    level: Level
    name: str
    text: str
    advice: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
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
    return Finding(Level.ok, name, text, None, data)


def warning(name: str, text: str, advice: str, **data: Any) -> Finding:
    """It will work, and not as well as it could, or the result will not be accepted."""
    return Finding(Level.warning, name, text, advice, data)


def failure(name: str, text: str, advice: str | None, **data: Any) -> Finding:
    """A run would fail, or its numbers would be wrong."""
    return Finding(Level.failure, name, text, advice, data)


def by_host(seen: Sequence[Seen[T]]) -> dict[str, T]:
    """The facts of one rank of each node: the first."""
    first: dict[str, T] = {}
    for one in seen:
        first.setdefault(one.host, one.facts)
    return first


def names(items: Iterable[object]) -> str:
    """A list for a sentence, cut where it gets long."""
    words = [str(item) for item in items]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


def slow(rates: Mapping[K, float], share: float) -> dict[K, float]:
    """The keys whose rate is below a share of the median, with their part of the median.

    Args:
        rates: Something measured alike everywhere, the more the better.
        share: What of the median is still well, below 1.
    """
    if not rates:
        return {}
    middle = statistics.median(rates.values())
    return {key: rate / middle for key, rate in rates.items() if rate < share * middle}
