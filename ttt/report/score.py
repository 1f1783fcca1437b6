"""From the runs of one experiment to its score, as the MLPerf Training rules have it. Pure.

The score is the mean time-to-train without the fastest and the slowest run (MLCommons
training_rules.adoc). One run that did not converge may be the slowest that is dropped; with two the
experiment has no score. May not know files or how a score is shown.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ttt.report.run import Run

T = TypeVar("T")
Machine = tuple[int | None, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Score:
    """A time in seconds and how it was reached, or why there is none.

    Attributes:
        seconds: The score; None if there is none.
        method: What was averaged, or the reason why nothing was.
    """

    seconds: float | None
    method: str


@dataclass(frozen=True, slots=True)
class Spread:
    """How much values differ; `std` is the sample standard deviation, None for a single value."""

    mean: float
    std: float | None
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Group:
    """The repetitions of one experiment: everything equal but the seed.

    Attributes:
        runs: All of them, in the order they were found.
        times: Time-to-train in seconds of each; None for a run without a valid one.
        score: Over all runs.
        time: Spread of the valid times, in seconds; None without any.
        epochs: Spread of the epochs of the same runs; None without any.
        resolution: One evaluation interval in seconds, the coarsest of the runs: no time is known
            better than this. None if unknown.
    """

    runs: tuple[Run, ...]
    times: tuple[float | None, ...]
    score: Score
    time: Spread | None
    epochs: Spread | None
    resolution: float | None


def olympic(times: Sequence[float | None]) -> Score:
    """The olympic mean.

    Fewer than three runs leave nothing between the fastest and the slowest: their plain mean is
    given, and called that.

    Args:
        times: Seconds of every run, at least one; None for a run that did not converge.
    """
    valid = sorted(time for time in times if time is not None)
    runs, failed = len(times), len(times) - len(valid)
    if failed > 1 or (failed and runs < 3):
        allowed = "only one may be dropped" if runs >= 3 else "dropping one takes 3 runs"
        return Score(None, f"{failed} of {runs} runs without a valid time, {allowed}")
    if runs < 3:
        what = "a single run" if runs == 1 else f"plain mean of {runs} runs"
        return Score(statistics.fmean(valid), f"{what}, no olympic mean")
    kept = valid[1 : runs - 1]  # a failed run is the slowest and is in `valid` no more
    slowest = "the one without a valid time" if failed else "slowest"
    return Score(
        statistics.fmean(kept), f"olympic mean of {runs} runs, fastest and {slowest} dropped"
    )


def spread(values: Sequence[float]) -> Spread | None:
    """Mean, sample standard deviation and range; None of nothing."""
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, min(values), max(values))


def valid_time(run: Run) -> float | None:
    """Time-to-train in seconds of a run that may be scored.

    As in MLPerf's summary of results, a log that failed its check counts as not converged.
    """
    return run.time_to_train_s if run.status == "success" and run.passed is not False else None


def group(runs: Sequence[Run]) -> list[Group]:
    """Put together the runs that repeat each other, in the order of the first of each.

    Repetitions have the same benchmark, target and configuration on the same machine. A run that
    died left no word of its machine: it belongs to the one its launch used.
    """
    machines: dict[tuple[Path, str | None], Machine] = {}
    for run in runs:
        if run.world_size is not None:
            machines.setdefault((run.path.resolve().parent, run.digest), _machine(run))
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        launch = (run.path.resolve().parent, run.digest)
        machine = _machine(run) if run.world_size is not None else machines.get(launch)
        key = (run.benchmark, run.target, run.digest, machine)
        groups.setdefault(key, []).append(run)
    return [_group(tuple(members)) for members in groups.values()]


def _machine(run: Run) -> Machine:
    return run.world_size, run.nodes, run.accelerator_name


def _group(runs: tuple[Run, ...]) -> Group:
    times = tuple(map(valid_time, runs))
    converged = [run for run, time in zip(runs, times, strict=True) if time is not None]
    intervals = [run.eval_interval_s for run in converged]
    return Group(
        runs=runs,
        times=times,
        score=_score(runs, times),
        time=spread([time for time in times if time is not None]),
        epochs=spread([run.epochs for run in converged if run.epochs is not None]),
        resolution=max((each for each in intervals if each is not None), default=None),
    )


def _score(runs: tuple[Run, ...], times: tuple[float | None, ...]) -> Score:
    seeds = [run.seed for run in runs if run.seed is not None]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:  # MLCommons' package_checker wants another seed for every run
        return Score(None, f"seed {', '.join(map(str, twice))} was run more than once")
    return olympic(times)


def agreed(values: Iterable[T | None]) -> T | None:
    """What all agree on who know it, None if they do not."""
    known = {value for value in values if value is not None}
    return known.pop() if len(known) == 1 else None
