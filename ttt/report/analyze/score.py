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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from ttt.compliance import usage_of
from ttt.report.analyze.repetitions import repetitions
from ttt.report.analyze.standing import counted_twice, standing
from ttt.report.analyze.weak import Weak, is_weak, throughput
from ttt.report.run import Run

T = TypeVar("T")
_MOMENT = 1e-6  # seconds; nothing was trained in less
_FILE, _COMPUTED = "scaling.json", "reference convergence points, by ttt"
_BY_A_TOOL = (
    "scaling.json says {factor:.4f}, which package_checker computes of these logs and writes there"
    " by itself: the score is given without"
)
_DOUBTFUL = "counts as it does officially, but its clock contradicts itself"

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
        time: Spread of the valid times, in seconds, by clocks to be trusted; None without any.
        epochs: Spread of the epochs of the same runs; None without any.
        resolution: Seconds between the last two evaluations, median of the runs whose clock can be
            trusted: no time is known better than this. None if unknown.
        submitter: Who says so.
        system: What it ran on.
        official: Whether it was by the rules of an official benchmark; None if runs disagree.
        problems: Why MLCommons would not take this as a result; empty too where nothing official
            was tried.
        rcp: The verdict on its convergence; None where there is none to be had.
        scaled_seconds: The score with its scaling; None where none is to be had.
        remarks: What is worth a word and refuses nothing.
        scaling: What the score is multiplied with, 1 if the reference convergence points were met
            and demand nothing; None where neither they nor scaling.json say anything.
        scaling_source: Who says so.
        energy_j: Mean energy of the runs whose mean the score is, scaled as this.
        weak: The throughput of models trained side by side, which have no score.
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
    remarks: tuple[str, ...] = ()
    scaling: float | None = None
    scaling_source: str | None = None
    energy_j: float | None = None
    weak: Weak | None = None

    @property
    def scaled_minutes(self) -> float | None:
        """The scaled score in minutes, with the digits of result_summarizer."""
        if self.scaling is None or self.score.minutes is None:
            return None
        return self.score.minutes * self.scaling

    @property
    def trusted_times(self) -> tuple[float, ...]:
        """The valid times of clocks that do not contradict themselves: fit for statistics."""
        timed = zip(self.runs, self.times, strict=True)
        return tuple(time for run, time in timed if time is not None and run.clock_trusted)


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
    timed = [(run, time) for run, time in zip(runs, times, strict=True) if time is not None]
    converged = [run for run, _ in timed]
    intervals = [run.eval_interval_s for run in converged if run.clock_trusted]
    side_by_side = any(map(is_weak, runs))
    score = _score(runs, times, side_by_side)
    rcp = judge(runs) if judge is not None else None
    scaling, source = (None, None) if side_by_side else _scaling(runs, rcp)
    problems, remarks = standing(runs, times, dropped(_benchmark(runs)), _unconverged(rcp))
    places = [] if score.seconds is None else _averaged(times, dropped(_benchmark(runs)))
    counting = converged if side_by_side else [runs[place] for place in places]
    return Group(
        runs=runs,
        times=times,
        score=score,
        time=spread([time for run, time in timed if run.clock_trusted]),
        epochs=spread([run.epochs for run in converged if run.epochs is not None]),
        resolution=_middle([each for each in intervals if each is not None]),
        submitter=agreed(run.submitter for run in runs),
        system=agreed(run.system for run in runs),
        official=agreed(run.official for run in runs),
        problems=tuple(problems),
        remarks=(
            *remarks,
            *(f"{run.path.name} {_DOUBTFUL}" for run in counting if not run.clock_trusted),
            *_left_out(runs, scaling),
        ),
        rcp=rcp,
        scaling=scaling,
        scaling_source=source,
        scaled_seconds=None if score.seconds is None or not scaling else score.seconds * scaling,
        energy_j=None if side_by_side else _energy(counting, scaling),
        weak=throughput(runs, times) if side_by_side else None,
    )


def _score(runs: Sequence[Run], times: Sequence[float | None], side_by_side: bool) -> Score:
    again = counted_twice(runs)
    if again and not agreed(run.official for run in runs):  # official logs have it as a problem
        return Score(None, f"{again}; give ttt report fewer of the folders")
    if side_by_side:
        return Score(None, "models trained side by side are scored by models a minute")
    return olympic(times, dropped(_benchmark(runs)))


def _benchmark(runs: Iterable[Run]) -> str:
    return agreed(run.benchmark for run in runs) or ""


def _middle(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _unconverged(rcp: Rcp | None) -> str | None:
    return None if rcp is None or rcp.verdict == "passed" else rcp.reason


def _scaling(runs: Sequence[Run], rcp: Rcp | None) -> tuple[float | None, str | None]:
    """What the score is multiplied with, and who says so.

    A scaling.json beside the logs is the authority (training_rules.adoc, "Score scaling"), also one
    that nobody can read; package_checker would write one where there is none. The trees of MLPerf
    HPC were published without those that it writes for them today, so that there only a file that
    says something else counts.
    """
    hpc = any(usage_of(run.benchmark) == "hpc" for run in runs)
    computed = rcp.scaling if rcp is not None and rcp.verdict == "passed" else None
    if any(run.official for run in runs):
        factor = agreed(run.scaling_factor for run in runs)
        if factor is not None and not (hpc and factor == computed):
            return factor, _FILE
        if any(run.scaling_problem for run in runs):
            return None, None
    return (None, None) if hpc or computed is None else (computed, _COMPUTED)


def _left_out(runs: Sequence[Run], scaling: float | None) -> list[str]:
    factor = agreed(run.scaling_factor for run in runs)
    if factor is None or scaling is not None or any(map(is_weak, runs)):
        return []
    return [_BY_A_TOOL.format(factor=factor)]


def _averaged(times: Sequence[float | None], drop: int) -> list[int]:
    """The places of the runs whose mean the score is, the fastest first."""
    timed = sorted((time, place) for place, time in enumerate(times) if time is not None)
    kept = timed[drop : len(times) - drop] if len(times) > 2 * drop else timed
    return [place for _, place in kept]


def _energy(runs: Sequence[Run], scaling: float | None) -> float | None:
    """Mean energy of runs, scaled as their score; None unless it is known of all."""
    spent = [run.energy_j for run in runs if run.energy_j is not None]
    if not spent or len(spent) < len(runs):
        return None
    return sum(spent) / len(spent) * (scaling or 1.0)


def agreed(values: Iterable[T | None]) -> T | None:
    """What all agree on who know it, None if they do not."""
    known = {value for value in values if value is not None}
    return known.pop() if len(known) == 1 else None
