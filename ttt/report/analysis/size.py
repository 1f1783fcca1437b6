"""What the runs of one experiment measured together, as scaling needs it. Pure."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ttt.report.analysis.losses import cold_s, evaluation_s, outside_s, share
from ttt.report.analysis.score import Group, agreed, dropped
from ttt.report.run import Run

Unit = Literal["accelerator", "process"]
_MOMENT, _AGES = 1e-6, 1e12  # seconds, beyond which a score is of a damaged clock

Task = tuple[str | None, float | None, str | None]


@dataclass(frozen=True, slots=True)
class Size:
    """One size of a machine, as its runs that count saw it: medians, but for means of progress.

    Attributes:
        group: All its runs.
        workers: Accelerators; processes where there are none.
        global_batch: Samples per update.
        seconds: The score.
        steady: Samples a second over all workers, without the first block.
        overall: Samples a second over all of training.
        epochs: Epochs to the target.
        samples: Samples to the target.
        waiting: Share of the time in which batches were waited for.
        communication: Share of the time of steps that exchanged gradients and computed nothing.
        evaluation: Share of the time in evaluations.
        cold: Share of the time the first block took beyond steady training.
        outside: Share of the time that was neither training nor evaluation.
    """

    group: Group
    workers: int
    global_batch: int | None
    seconds: float
    steady: float | None
    overall: float | None
    epochs: float | None
    samples: float | None
    waiting: float | None
    communication: float | None
    evaluation: float | None
    cold: float | None
    outside: float | None


def task(group: Group) -> Task:
    """What its runs had to do: benchmark, target and ruleset, by those that are not damaged."""
    runs = group.runs
    return (
        agreed(run.benchmark for run in runs),
        agreed(run.target for run in runs),
        agreed(run.ruleset for run in runs),
    )


def unit(group: Group) -> Unit:
    """What its workers are."""
    return "accelerator" if any(run.accelerators for run in group.runs) else "process"


def workers(group: Group) -> int | None:
    """How many there are."""
    return agreed(run.accelerators for run in group.runs) or agreed(
        run.world_size for run in group.runs
    )


def counting(group: Group) -> tuple[Run, ...]:
    """The runs between the fastest and the slowest, whose mean the score is.

    All of them where nothing is dropped, as with one or two runs. Progress has to be averaged over
    the same runs as time: an outlier that the score left out would else turn up as an overhead.
    """
    timed = [(time, run) for time, run in zip(group.times, group.runs, strict=True) if time]
    timed.sort(key=lambda each: each[0])
    drop = dropped(task(group)[0])
    if len(group.times) <= 2 * drop:
        return tuple(run for _, run in timed)
    return tuple(run for _, run in timed[drop : len(group.times) - drop])


def measure(group: Group) -> Size | None:
    """The size of an experiment that has a score and whose workers are known; else None."""
    count = workers(group)
    seconds = group.score.seconds
    if seconds is None or not _MOMENT < seconds < _AGES or count is None or count < 1:
        return None
    runs = counting(group)

    def middle(of: Callable[[Run], float | None]) -> float | None:
        return _known(statistics.median, map(of, runs))

    return Size(
        group,
        count,
        agreed(run.global_batch for run in group.runs),
        seconds,
        steady=middle(lambda run: run.steady_samples_per_s),
        overall=middle(lambda run: run.samples_per_s),
        epochs=_known(statistics.fmean, (run.epochs for run in runs)),
        samples=_known(statistics.fmean, (run.samples for run in runs)),
        waiting=middle(lambda run: run.data_wait_fraction),
        communication=middle(lambda run: run.communication_fraction),
        evaluation=middle(lambda run: share(evaluation_s(run), run)),
        cold=middle(lambda run: share(cold_s(run), run)),
        outside=middle(lambda run: share(outside_s(run), run)),
    )


def _known(average: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return average(known) if known else None
