"""How sure a score is: convergence over seeds, its interval, and what tells two apart. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ttt.report.score import Group


@dataclass(frozen=True, slots=True)
class Stability:
    """How stable the convergence of an experiment is.

    Attributes:
        epochs: Epochs to the target of each run that counts, ascending.
        interval: Seconds between which the score lies with 95 % confidence; None with too few runs.
        warnings: What a reader of the score should know, a sentence each.
    """

    epochs: tuple[float, ...]
    interval: tuple[float, float] | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two experiments to the same target.

    Attributes:
        first: The one with the lower score.
        second: The other.
        ratio: Score of the second over score of the first, at least 1.
        p_value: Of the two having the same mean time (Welch's t-test); None with too few runs.
        runs: Runs of each it takes to tell them apart (5 % error, 80 % power); None if unknown.
        hidden: Whether the difference is below one evaluation interval of either.
    """

    first: Group
    second: Group
    ratio: float
    p_value: float | None
    runs: int | None
    hidden: bool


def stability(group: Group) -> Stability:
    """The stability of one experiment."""
    raise NotImplementedError


def comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """Every pair of experiments next to each other in rank, of the same benchmark and target."""
    raise NotImplementedError
