"""Which experiments compete, and what tells two of them apart. Pure."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ttt.report.analyze.experiment import Experiment, Goal
from ttt.report.analyze.repetitions import copies
from ttt.report.analyze.significance import runs_needed, welch


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two experiments to the same target.

    Attributes:
        first: The one with the lower score.
        second: The other.
        ratio: Score of the second over score of the first, at least 1.
        p_value: Of the two having the same mean time (Welch's t-test); None with too few runs, or
            if no time differs from another.
        runs_to_tell: Runs of each with which this test tells them apart four times out of five;
            `MANY` is as many or more. None if unknown, and where scores and means disagree on who
            is faster.
        hidden: Whether the difference is below one evaluation interval of either. Not where all
            runs of both took the same epochs with the same batch: they differ in speed alone.
    """

    first: Experiment
    second: Experiment
    ratio: float
    p_value: float | None
    runs_to_tell: int | None
    hidden: bool


def comparisons(experiments: Sequence[Experiment]) -> list[Comparison]:
    """Every pair of experiments next to each other in rank that had to do the same.

    Next to each other among all of them, or among those with as many workers. Where the target is
    not known that is unknown too. Copies of the same runs do not compete.
    """
    rivals: dict[Goal, list[Experiment]] = {}
    for each in experiments:
        if each.score.seconds is not None and each.target is not None:
            rivals.setdefault(each.goal, []).append(each)
    found = []
    for competing in rivals.values():
        competing.sort(key=_score)
        found += [
            _compare(first, second)
            for first, second in _neighbours(competing)
            if not copies([*first.runs, *second.runs])
        ]
    return found


def between_machines(found: Sequence[Comparison]) -> list[Comparison]:
    """Those worth a sentence.

    What a machine gains from being larger is what the table of its scaling says: a comparison of
    two sizes of the same machine is left out, unless there is no other.
    """
    if len(found) == 1:
        return list(found)
    return [each for each in found if not _same_machine(each.first, each.second)]


def _same_machine(first: Experiment, second: Experiment) -> bool:
    """Whether two differ in size, but not in whose they are and what they are made of."""
    one, other = ((each.owner, each.unit, each.part) for each in (first, second))
    return first.workers != second.workers and one == other


def _neighbours(ranked: Sequence[Experiment]) -> Iterator[tuple[Experiment, Experiment]]:
    """The next in rank of each, and the next of its size, unless that is the same one."""
    for place, first in enumerate(ranked[:-1], 1):
        yield first, ranked[place]
        alike = (each for each in ranked[place:] if each.workers == first.workers is not None)
        same_size = next(alike, ranked[place])
        if same_size is not ranked[place]:
            yield first, same_size


def _score(of: Experiment) -> float:
    assert of.score.seconds is not None
    return of.score.seconds


def _compare(first: Experiment, second: Experiment) -> Comparison:
    quick, slow = first.trusted_times, second.trusted_times
    steps = [each.resolution for each in (first, second) if each.resolution is not None]
    near = bool(steps) and _score(second) - _score(first) < max(steps)
    return Comparison(
        first,
        second,
        ratio=_score(second) / _score(first),
        p_value=welch(quick, slow),
        runs_to_tell=runs_needed(quick, slow) if _agree(quick, slow) else None,
        hidden=near and not _same_path(first, second),
    )


def _agree(quick: Sequence[float], slow: Sequence[float]) -> bool:
    """Whether mean times rank two as their scores do; without a trusted time it is not known."""
    return bool(quick and slow) and statistics.fmean(quick) < statistics.fmean(slow)


def _same_path(first: Experiment, second: Experiment) -> bool:
    """Whether all runs of both stopped after the same epochs with the same batch.

    Then they saw the target at the same evaluation, and what is left is a difference of speed.
    """
    progress = {(run.global_batch, run.epochs) for run in (*first.runs, *second.runs)}
    return len(progress) == 1 and None not in progress.pop()
