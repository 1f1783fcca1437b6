"""From the runs of one experiment to its score, as the MLPerf Training rules have it. Pure.

The score is the mean time-to-train without the fastest and the slowest run (MLCommons
training_rules.adoc). One run that did not converge may be the slowest that is dropped; with two the
experiment has no score. Of unet3d, which has many short runs, four are dropped at either end.

The score of official logs is that of MLCommons' result_summarizer, which differs in two cases. It
gives no mean of fewer than three runs; this gives the plain one and says so. And it believes in the
time of a run that ended as aborted, if only some evaluation had reached the target.

May not know files or how a score is shown.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

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


def agreed(values: Iterable[T | None]) -> T | None:
    """What all agree on who know it, None if they do not."""
    known = {value for value in values if value is not None}
    return known.pop() if len(known) == 1 else None


def average(over: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    """A mean or median of the values that are known; None without any."""
    known = [value for value in values if value is not None]
    return over(known) if known else None
