"""From the runs of one experiment to its score, as the MLPerf Training rules have it. Pure.

The score is the mean time-to-train without the fastest and the slowest run (MLCommons
training_rules.adoc). One run that did not converge may be the slowest that is dropped; with two the
experiment has no score. Of unet3d, which has many short runs, four are dropped at either end.

The score of official logs is that of MLCommons' result_summarizer, which differs in two cases: it
gives no mean of fewer than three runs, where this gives the plain one and says so; and it believes
in the time of a run that ended as aborted, if only some evaluation had reached the target.

May not know files or how a score is shown.
"""

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from ttt.compliance import at_least, runs_needed
from ttt.report.analysis.repetitions import copies, repeated_seeds, repetitions
from ttt.report.run import Run

T = TypeVar("T")
_MOMENT = 1e-6  # seconds; nothing was trained in less

# How many runs are dropped at either end, as result_summarizer has it; it keeps them in its code.
_DROPPED = {"unet3d": 4}


@dataclass(frozen=True, slots=True)
class Score:
    """A time and how it was reached, or why there is none.

    Attributes:
        seconds: The score; None if there is none.
        method: What was averaged, or the reason why nothing was.
        minutes: The score once more, computed in the order in which result_summarizer does: every
            time in minutes first, then the mean. So it has the same digits, to the last.
    """

    seconds: float | None
    method: str
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """How much values differ; `std` is the sample standard deviation, None for a single value."""

    mean: float
    std: float | None
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Rcp:
    """What MLCommons' reference convergence points say of an experiment's epochs (or samples).

    Attributes:
        verdict: "failed" if it converged faster than can be believed, "missing" if there is no
            reference for so large a batch; None if it could not be judged.
        reason: The checker's own words.
        mean_epochs: Olympic mean of the runs, in what the checker counts for this benchmark.
        min_epochs: The least that is accepted.
        reference_epochs: Mean of the reference.
        scaling: What the score is multiplied with for having converged faster than the reference.
    """

    verdict: Literal["passed", "failed", "missing"] | None
    reason: str
    mean_epochs: float | None = None
    min_epochs: float | None = None
    reference_epochs: float | None = None
    scaling: float = 1.0


Judge = Callable[[Sequence[Run]], Rcp | None]


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
        submitter: Who says so.
        system: What it ran on.
        official: Whether it was by the rules of an official benchmark; None if runs disagree.
        problems: Why MLCommons would not take this as a result; empty too where nothing official
            was tried.
        rcp: The verdict on its convergence; None where there is none to be had.
        scaled_seconds: The score with the scaling that the reference convergence points demand;
            None unless these were met.
    """

    runs: tuple[Run, ...]
    times: tuple[float | None, ...]
    score: Score
    time: Spread | None
    epochs: Spread | None
    resolution: float | None
    submitter: str | None = None
    system: str | None = None
    official: bool | None = None
    problems: tuple[str, ...] = ()
    rcp: Rcp | None = None
    scaled_seconds: float | None = None

    @property
    def scaled_minutes(self) -> float | None:
        """The same in minutes, with the digits of result_summarizer."""
        if self.scaled_seconds is None or self.score.minutes is None or self.rcp is None:
            return None
        return self.score.minutes * self.rcp.scaling


def olympic(times: Sequence[float | None], drop: int = 1) -> Score:
    """The olympic mean.

    Too few runs leave nothing between the fastest and the slowest: their plain mean is given, and
    called that.

    Args:
        times: Seconds of every run, at least one; None for a run that did not converge.
        drop: How many to drop at either end.
    """
    valid = sorted(time for time in times if time is not None)
    runs, failed, enough = len(times), len(times) - len(valid), 2 * drop + 1
    number = "one" if drop == 1 else str(drop)
    if failed > drop or (failed and runs < enough):
        allowed = f"only {number} may be" if runs >= enough else f"dropping {number} takes {enough}"
        noun = "dropped" if runs >= enough else "runs"
        return Score(None, f"{failed} of {runs} runs without a valid time, {allowed} {noun}")
    if runs < enough:
        what = "a single run" if runs == 1 else f"plain mean of {runs} runs"
        return _mean(valid, f"{what}, no olympic mean")
    kept = valid[drop : runs - drop]  # a failed run is among the slowest and is in `valid` no more
    many = "" if drop == 1 else f"{drop} "
    slowest = f"{many}slowest"
    if failed:
        slowest = "the one without a valid time" if drop == 1 else f"{slowest} ({failed} without)"
    return _mean(kept, f"olympic mean of {runs} runs, {many}fastest and {slowest} dropped")


def _mean(times: Sequence[float], method: str) -> Score:
    # Logs are in whole milliseconds, to which the time is rounded back.
    minutes = [round(time * 1000, 6) / 60 / 1000 for time in times]
    return Score(statistics.fmean(times), method, sum(minutes) / len(minutes))


def dropped(benchmark: str | None) -> int:
    """How many runs of a benchmark the olympic mean drops at either end."""
    return _DROPPED.get(benchmark or "", 1)


def spread(values: Sequence[float]) -> Spread | None:
    """Mean, sample standard deviation and range; None of nothing."""
    if not values:
        return None
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, min(values), max(values))


def valid_time(run: Run) -> float | None:
    """Time-to-train in seconds of a run that may be scored.

    As in MLPerf's summary of results, a log that failed its check counts as not converged; so does
    a time that no clock can have measured.
    """
    valid = run.status == "success" and run.passed is not False
    return run.time_to_train_s if valid and (run.time_to_train_s or 0) > _MOMENT else None


def group(runs: Iterable[Run], judge: Judge | None = None) -> list[Group]:
    """Put together the runs that repeat each other, in the order of the first of each.

    Args:
        runs: All of them.
        judge: Gives the verdict on the convergence of an experiment; without it there is none.
    """
    return [_group(members, judge) for members in repetitions(runs)]


def _group(runs: tuple[Run, ...], judge: Judge | None) -> Group:
    times = tuple(map(valid_time, runs))
    converged = [run for run, time in zip(runs, times, strict=True) if time is not None]
    intervals = [run.eval_interval_s for run in converged]
    score = _score(runs, times)
    rcp = judge(runs) if judge is not None else None
    scaled = None
    if rcp is not None and rcp.verdict == "passed" and score.seconds is not None:
        scaled = score.seconds * rcp.scaling
    return Group(
        runs=runs,
        times=times,
        score=score,
        time=spread([time for time in times if time is not None]),
        epochs=spread([run.epochs for run in converged if run.epochs is not None]),
        resolution=max((each for each in intervals if each is not None), default=None),
        submitter=agreed(run.submitter for run in runs),
        system=agreed(run.system for run in runs),
        official=agreed(run.official for run in runs),
        problems=tuple(_problems(runs, times, rcp)),
        rcp=rcp,
        scaled_seconds=scaled,
    )


def _score(runs: tuple[Run, ...], times: tuple[float | None, ...]) -> Score:
    again = _again(runs)
    if again and not agreed(run.official for run in runs):  # official logs have it as a problem
        return Score(None, f"{again}; give ttt report fewer of the folders")
    if any(_is_weak(run) for run in runs):
        return Score(None, "weak scaling is scored by models a minute, which is not done here")
    return olympic(times, dropped(_benchmark(runs)))


def _is_weak(run: Run) -> bool:
    """Whether this is one of the many models that MLPerf HPC has trained at the same time."""
    return bool(run.official) and run.path.parent.parent.name == "weak"


def _benchmark(runs: Iterable[Run]) -> str:
    return agreed(run.benchmark for run in runs) or ""


def _again(runs: Sequence[Run]) -> str | None:
    """What was counted twice: MLCommons' package_checker wants another seed for each run."""
    if seeds := repeated_seeds(runs):
        noun, verb = ("seed", "was") if len(seeds) == 1 else ("seeds", "were")
        return f"{noun} {', '.join(map(str, seeds))} {verb} run more than once"
    return next(_copied(runs), None)


def _copied(runs: Sequence[Run]) -> Iterator[str]:
    return (f"{run.path.name} is a copy of {first.path.name}" for run, first in copies(runs))


def _problems(
    runs: tuple[Run, ...], times: tuple[float | None, ...], rcp: Rcp | None
) -> Iterable[str]:
    """What package_checker, or a reviewer, would refuse the logs of an official benchmark for."""
    if not any(run.official for run in runs):
        return
    benchmark = _benchmark(runs)
    needed, allowed = runs_needed(benchmark), dropped(benchmark)
    if needed is not None and len(runs) != needed:
        yield f"{benchmark} takes exactly {needed} runs, here are {len(runs)}"
    if (failed := sum(time is None for time in times)) > allowed:
        yield f"{failed} runs without a valid time, {allowed} may be"
        for run in runs:
            if run.passed is False and run.problems:
                yield f"{run.path.name}: {run.problems[0]}"
    rulesets = sorted({run.ruleset for run in runs if run.ruleset is not None})
    if len(rulesets) > 1:
        yield f"logs were checked by different rulesets: {', '.join(rulesets)}"
    yield from _copied(runs)
    closed = agreed(run.division for run in runs) == "closed"
    if closed and rulesets and all(at_least(each, "1.0.0") for each in rulesets):
        if repeated_seeds(runs) and (again := _again(runs)):
            yield again
        if seedless := sum(run.seed is None for run in runs):
            yield f"{seedless} of {len(runs)} runs log no seed, which package_checker wants"
    if rcp is not None and rcp.verdict != "passed":
        yield f"reference convergence points: {rcp.reason}"


def agreed(values: Iterable[T | None]) -> T | None:
    """What all agree on who know it, None if they do not."""
    known = {value for value in values if value is not None}
    return known.pop() if len(known) == 1 else None
