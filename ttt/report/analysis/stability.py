"""How sure a score is: convergence over seeds, its interval, and what tells two apart. Pure."""

import math
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ttt.report.analysis.repetitions import copies
from ttt.report.analysis.score import Group
from ttt.report.analysis.size import Goal, goal, workers
from ttt.report.analysis.words import counted, duration, percent, unit_for

_ENOUGH = 3  # runs: with two, Student's t is 12.7 standard errors wide
_WIDE = 0.05  # standard deviation over mean from which a spread is worth a word
MANY = 1000  # runs; nobody does more to tell two systems apart
_POWER = 0.8
_SURE = 100.0  # standard errors
_COARSE, _FINE = 0.05, 0.02  # of the score: evaluation intervals that hide much, and nothing


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
        p_value: Of the two having the same mean time (Welch's t-test); None with too few runs, or
            if no time differs from another.
        runs: Runs of each with which this test tells them apart four times out of five; MANY is as
            many or more. None if unknown, and where scores and means disagree on who is faster.
        hidden: Whether the difference is below one evaluation interval of either. Not where all
            runs of both took the same epochs with the same batch: they differ in speed alone.
    """

    first: Group
    second: Group
    ratio: float
    p_value: float | None
    runs: int | None
    hidden: bool


def stability(group: Group) -> Stability:
    """The stability of one experiment.

    The interval is Student's, of the mean time of all runs that converged. The score itself is a
    trimmed mean, and what it trims is what tells how far seeds scatter: an interval of the runs
    that are left would be many times too narrow.
    """
    times = group.trusted_times
    epochs = sorted(
        run.epochs
        for run, time in zip(group.runs, group.times, strict=True)
        if time is not None and run.epochs is not None
    )
    interval = None if group.score.seconds is None else _interval(times)
    return Stability(tuple(epochs), interval, tuple(_warnings(group, times, epochs)))


def _interval(times: Sequence[float]) -> tuple[float, float] | None:
    if len(times) < _ENOUGH:
        return None
    half = _t_quantile(len(times) - 1) * statistics.stdev(times) / math.sqrt(len(times))
    mean = statistics.fmean(times)
    return max(0.0, mean - half), mean + half


def _warnings(group: Group, times: Sequence[float], epochs: Sequence[float]) -> Iterator[str]:
    if group.score.seconds is None:
        return
    if len(times) < _ENOUGH:
        yield (
            f"{counted(len(times), 'run')} with a time cannot tell how far seeds scatter: it takes"
            f" {_ENOUGH} or more"
        )
    if len(times) > 1 and statistics.stdev(times) > _WIDE * statistics.fmean(times):
        wide = percent(statistics.stdev(times) / statistics.fmean(times))
        extremes = f"from {_time(min(times))} to {_time(max(times))}"
        yield f"the times scatter widely: standard deviation {wide} of the mean, {extremes}"
    elif len(seen := Counter(round(each, 2) for each in epochs)) > 1:
        usual, count = seen.most_common(1)[0]
        if 2 * count > len(epochs):
            others = ", ".join(f"{each:g}" for each in seen.elements() if each != usual)
            yield f"{count} of {len(epochs)} runs took {usual:g} epochs, the rest {others}"
    yield from _grain(group, group.score.seconds, epochs)


def _grain(group: Group, score: float, epochs: Sequence[float]) -> Iterator[str]:
    """What the distance of evaluations hides."""
    if group.resolution is None or group.resolution < _FINE * score:
        return
    part = percent(group.resolution / score)
    interval = f"evaluations are {_time(group.resolution)} apart, {part} of the score"
    waste = "half of it is wasted on average"
    if group.resolution >= _COARSE * score:
        yield f"{interval}: that hides smaller differences, and {waste}"
    elif len(epochs) >= _ENOUGH and len(set(epochs)) == 1:
        yield (
            f"all {len(epochs)} runs stopped at the same evaluation, and {interval}: how far seeds"
            " scatter below that is not seen"
        )


def _time(seconds: float) -> str:
    return duration(seconds, None, unit_for([seconds]))


def comparisons(groups: Sequence[Group]) -> list[Comparison]:
    """Every pair of experiments next to each other in rank that had to do the same.

    Next to each other among all of them, or among those with as many workers. Where the target is
    not known nobody can say so. Copies of the same runs do not compete.
    """
    rivals: dict[Goal, list[Group]] = {}
    for group in groups:
        if group.score.seconds is not None and goal(group).target is not None:
            rivals.setdefault(goal(group), []).append(group)
    found = []
    for each in rivals.values():
        each.sort(key=_score)
        found += [
            _compare(first, second)
            for first, second in _neighbours(each)
            if not copies([*first.runs, *second.runs])
        ]
    return found


def _neighbours(ranked: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """The next in rank of each, and the next of its size, unless that is the same one."""
    for place, first in enumerate(ranked[:-1], 1):
        yield first, ranked[place]
        alike = (each for each in ranked[place:] if workers(each) == workers(first) is not None)
        same_size = next(alike, ranked[place])
        if same_size is not ranked[place]:
            yield first, same_size


def _score(group: Group) -> float:
    assert group.score.seconds is not None
    return group.score.seconds


def _compare(first: Group, second: Group) -> Comparison:
    quick, slow = first.trusted_times, second.trusted_times
    steps = [group.resolution for group in (first, second) if group.resolution is not None]
    near = bool(steps) and _score(second) - _score(first) < max(steps)
    return Comparison(
        first,
        second,
        ratio=_score(second) / _score(first),
        p_value=welch(quick, slow),
        runs=runs_needed(quick, slow) if statistics.fmean(quick) < statistics.fmean(slow) else None,
        hidden=near and not _same_path(first, second),
    )


def _same_path(first: Group, second: Group) -> bool:
    """Whether all runs of both stopped after the same epochs with the same batch.

    Then they saw the target at the same evaluation, and what is left is a difference of speed.
    """
    progress = {(run.global_batch, run.epochs) for run in (*first.runs, *second.runs)}
    return len(progress) == 1 and None not in progress.pop()


def welch(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value of equal means, without assuming equal variances.

    Welch, "The generalization of 'Student's' problem when several different population variances
    are involved", Biometrika 34, 1947, with Satterthwaite's degrees of freedom.

    Returns:
        None with fewer than two values of either, or if neither varies.
    """
    if min(len(first), len(second)) < 2:
        return None
    parts = [statistics.variance(values) / len(values) for values in (first, second)]
    if not sum(parts):
        return None
    t = (statistics.fmean(first) - statistics.fmean(second)) / math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (first, second), strict=True)
    )
    return 2 * _t_below(-abs(t), freedom)


def runs_needed(first: Sequence[float], second: Sequence[float]) -> int | None:
    """Runs of each with which Welch's test finds the difference of these means.

    With 5 % error, in 80 % of cases: the least n for which the noncentral t distribution leaves
    that much beyond the test's limit, as far as these means and variances are the true ones.

    Returns:
        2 to MANY, which is as many or more; None with fewer than two values of either, equal means,
        or where nothing varies.
    """
    if min(len(first), len(second)) < 2:
        return None
    distance = abs(statistics.fmean(first) - statistics.fmean(second))
    variances = [statistics.variance(values) for values in (first, second)]
    if not distance or not sum(variances):
        return None
    return bisect_left(
        range(MANY), _POWER, lo=2, key=lambda runs: _power(runs, distance, variances)
    )


def _power(runs: int, distance: float, variances: Sequence[float]) -> float:
    """How often Welch's test tells two apart with so many runs of each."""
    from scipy.special import nctdtr  # noqa: PLC0415  as below

    freedom = (runs - 1) * sum(variances) ** 2 / sum(each**2 for each in variances)
    effect = distance * math.sqrt(runs / sum(variances))
    if effect > _SURE:  # where nctdtr gives up
        return 1.0
    limit = _t_quantile(freedom)
    return float(1 - nctdtr(freedom, effect, limit) + nctdtr(freedom, effect, -limit))


def _t_quantile(freedom: float) -> float:
    """The value a t-distributed one exceeds in 2.5% of cases."""
    from scipy.special import stdtrit  # noqa: PLC0415  a login node pays for it only in a report

    return float(stdtrit(freedom, 0.975))


def _t_below(t: float, freedom: float) -> float:
    """How often a t-distributed value is below this one."""
    from scipy.special import stdtr  # noqa: PLC0415  as above

    return float(stdtr(freedom, t))
