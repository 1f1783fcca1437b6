"""How sure a score is: convergence over seeds, its interval, and what tells two apart. Pure."""

import math
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ttt.report.analyze.format import counted, duration, percent, unit_of
from ttt.report.analyze.progress import Measure, measure_of, to_target, written
from ttt.report.analyze.repetitions import copies
from ttt.report.analyze.score import Group, agreed, dropped
from ttt.report.analyze.size import Goal, goal, unit, workers

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
        progress: Epochs to the target of each run that counts, ascending; samples in a task whose
            progress is in samples.
        interval: Seconds between which the score lies with 95 % confidence; None with too few runs.
        warnings: What a reader of the score should know, a sentence each.
        coarse: One evaluation interval as a share of the score, where it is large enough to hide
            what a reader may want to see; else None.
    """

    progress: tuple[float, ...]
    interval: tuple[float, float] | None
    warnings: tuple[str, ...]
    coarse: float | None


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


def stability(group: Group, task: Sequence[Group] | None = None) -> Stability:
    """The stability of one experiment.

    Args:
        group: Its runs.
        task: All experiments it is shown with, whose times have one unit and whose progress
            in one measure; None if it is shown alone.
    """
    task = [group] if task is None else task
    measure = measure_of(task)
    part = None
    if group.resolution is not None and group.score.seconds:
        part = group.resolution / group.score.seconds
    return Stability(
        tuple(to_target(group, measure)),
        confidence(group),
        tuple(_warnings(group, unit_of(task), measure)),
        part if part is not None and part >= _COARSE else None,
    )


def confidence(group: Group) -> tuple[float, float] | None:
    """Seconds between which the score of an experiment lies with 95 % confidence.

    The score is a trimmed mean, so its interval is that of one: by the winsorized variance, which
    counts what is trimmed as the nearest time that is not (Tukey and McLaughlin, "Less vulnerable
    confidence and significance procedures for location based on a single sample", Sankhya A 25,
    1963). Where fewer than three runs are left it is Student's, of the mean of all that converged.

    Returns:
        None with fewer than three runs, or without a score.
    """
    times = sorted(group.trusted_times)
    if len(times) < _ENOUGH or group.score.seconds is None:
        return None
    drop = dropped(agreed(run.benchmark for run in group.runs))
    failed = sum(time is None for time in group.times)
    count = len(times) + failed
    if failed <= drop and count - 2 * drop >= _ENOUGH:
        kept = times[drop : count - drop]
        near = [min(max(time, kept[0]), kept[-1]) for time in [*times, *[math.inf] * failed]]
        error = statistics.stdev(near) / (1 - 2 * drop / count) / math.sqrt(count)
    else:
        kept, error = times, statistics.stdev(times) / math.sqrt(len(times))
    half = _t_quantile(len(kept) - 1) * error
    mean = statistics.fmean(kept)
    return max(0.0, mean - half), mean + half


def _warnings(group: Group, unit: str, measure: Measure) -> Iterator[str]:
    if group.score.seconds is None:
        return
    times = group.trusted_times
    if len(times) < _ENOUGH:
        yield (
            f"{counted(len(times), 'run')} with a time cannot tell how far seeds scatter: it takes"
            f" {_ENOUGH} or more"
        )
    elif statistics.stdev(times) > _WIDE * statistics.fmean(times):
        wide = percent(statistics.stdev(times) / statistics.fmean(times))
        extremes = f"from {duration(min(times), unit)} to {duration(max(times), unit)}"
        yield f"the times scatter widely: standard deviation {wide} of the mean, {extremes}"
    elif outliers := _outliers(group, measure):
        yield outliers
    same = to_target(group, measure)
    if group.resolution is not None and len(same) >= _ENOUGH and len(set(same)) == 1:
        part = group.resolution / group.score.seconds
        if _FINE <= part < _COARSE:
            yield (
                f"all {len(same)} runs stopped at the same evaluation, and evaluations are"
                f" {duration(group.resolution, unit)} apart, {percent(part)} of the score: how far"
                " seeds scatter below that is not seen"
            )


def _outliers(group: Group, measure: Measure) -> str | None:
    """That most runs took as long as each other, and some longer or shorter."""
    taken = Counter(written(each, measure) for each in to_target(group, measure))
    if len(taken) < 2:
        return None
    (usual, count), *rest = taken.most_common()
    if 2 * count <= taken.total():
        return None
    others = ", ".join(f"{many} took {each}" for each, many in rest)
    return f"{count} of {taken.total()} runs took {usual} {measure}, {others}"


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


def between_machines(found: Sequence[Comparison]) -> list[Comparison]:
    """Those worth a sentence.

    What a machine gains from being larger is what the table of its scaling says: a comparison of
    two sizes of the same machine is left out, unless there is no other.
    """
    if len(found) == 1:
        return list(found)
    return [each for each in found if not _same_machine(each.first, each.second)]


def _same_machine(first: Group, second: Group) -> bool:
    """Whether two differ in size, but not in whose they are and what they are made of."""
    if workers(first) == workers(second):
        return False
    return _made_of(first) == _made_of(second)


def _made_of(group: Group) -> tuple[str | None, ...]:
    submitter = agreed(run.submitter for run in group.runs) or ""
    processor = agreed(run.description.get("host_processor_model_name") for run in group.runs)
    accelerator = agreed(run.accelerator_name for run in group.runs)
    part = accelerator if unit(group) == "accelerator" else str(processor)
    return submitter.split("+")[0].strip(), unit(group), part


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
        2 to MANY, which is as many or more; None with fewer than three values of either, equal
        means, or where nothing varies.
    """
    if min(len(first), len(second)) < _ENOUGH:
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
