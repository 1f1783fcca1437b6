"""What the runs of one experiment measured together, as scaling needs it. Pure."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from ttt.report.analyze.losses import cold_s, evaluation_s, outside_s, share
from ttt.report.analyze.rates import rate
from ttt.report.analyze.score import Group, agreed, dropped
from ttt.report.run import Run

Unit = Literal["accelerator", "process", "node"]


class Goal(NamedTuple):
    """What has to be the same for times to compare.

    Attributes:
        benchmark: What was trained.
        metric: Of its quality; None of official benchmarks, whose logs need not name it.
        target: Its threshold.
        ruleset: From one to the next the rules of a benchmark change.
        division: The open one lets everybody change what is trained.
    """

    benchmark: str | None
    metric: str | None
    target: float | None
    ruleset: str | None
    division: str | None


@dataclass(frozen=True, slots=True)
class Size:
    """One size of a machine, as its runs saw it: medians, but for means of progress.

    Times, rates and progress are of the runs whose mean the score is. Shares, which explain them,
    are of all that converged: of three runs a single one is left to make the score.

    Attributes:
        group: All its runs.
        workers: Accelerators; processes, or nodes, where there are none.
        global_batch: Samples, or tokens, per update.
        step_samples: Samples per update.
        seconds: The score.
        nodes: Machines.
        replicas: Copies of the model that train side by side; None where it is not disclosed.
        training: Samples a second over all workers while training, without the first block.
        tracked: The same by what the submitter's code tracked.
        on_clock: Samples a second over all workers and all the time on the clock.
        confirmed: Whether two witnesses agree on the rate while training, in every run.
        epochs: Epochs to the target.
        samples: Samples to the target.
        spacing: Between evaluations, in the measure of progress: epochs, samples where these are
            unknown.
        waiting: Share of the time in which batches were waited for.
        communication: Share of forward, backward and exchange in which nothing was computed.
        evaluation: Share of the time in evaluations.
        cold: Share of the time the first block took beyond steady training.
        outside: Share of the time that was neither training nor evaluation.
    """

    group: Group
    workers: int
    global_batch: int | None
    step_samples: float | None
    seconds: float
    nodes: int | None
    replicas: int | None
    training: float | None
    tracked: float | None
    on_clock: float | None
    confirmed: bool
    epochs: float | None
    samples: float | None
    spacing: float | None
    waiting: float | None
    communication: float | None
    evaluation: float | None
    cold: float | None
    outside: float | None

    @property
    def step_ms(self) -> float | None:
        """Milliseconds of an update, by the rate while training; None where that is not sure."""
        if not self.step_samples or not self.training or not self.confirmed:
            return None
        return 1000 * self.step_samples / self.training


def goal(group: Group) -> Goal:
    """What its runs had to do, by those that are not damaged."""
    runs = group.runs
    return Goal(
        agreed(run.benchmark for run in runs),
        None if group.official else agreed(run.metric for run in runs),
        agreed(run.target for run in runs),
        agreed(run.ruleset for run in runs),
        agreed(run.division for run in runs),
    )


def unit(group: Group) -> Unit:
    """What its workers are.

    Nodes where the description of a system says that it has no accelerators, and no log says how
    many processes ran: all that is known then of how large a machine of CPUs is.
    """
    if any(run.accelerators for run in group.runs):
        return "accelerator"
    described = agreed(run.accelerators for run in group.runs) == 0
    processes = any(run.world_size is not None for run in group.runs)
    return "node" if described and not processes else "process"


def workers(group: Group) -> int | None:
    """How many there are."""
    match unit(group):
        case "accelerator":
            return agreed(run.accelerators for run in group.runs)
        case "process":
            return agreed(run.world_size for run in group.runs)
        case "node":
            return agreed(run.nodes for run in group.runs)


def counting(group: Group) -> tuple[Run, ...]:
    """The runs between the fastest and the slowest, whose mean the score is.

    All of them where nothing is dropped, as with one or two runs. Progress has to be averaged over
    the same runs as time: an outlier that the score left out would else turn up as an overhead.
    """
    timed = [(time, run) for time, run in zip(group.times, group.runs, strict=True) if time]
    timed.sort(key=lambda each: each[0])
    drop = dropped(goal(group).benchmark)
    if len(group.times) <= 2 * drop:
        return tuple(run for _, run in timed)
    return tuple(run for _, run in timed[drop : len(group.times) - drop])


def measure(group: Group) -> Size | None:
    """The size of an experiment that has a score and whose workers are known; else None."""
    count = workers(group)
    seconds = group.score.seconds
    if seconds is None or count is None or count < 1:
        return None
    runs = counting(group)
    valid = [run for run, time in zip(group.runs, group.times, strict=True) if time is not None]

    def middle(of: Callable[[Run], float | None], among: Sequence[Run] = runs) -> float | None:
        return _known(statistics.median, map(of, among))

    return Size(
        group,
        count,
        agreed(run.global_batch for run in group.runs),
        middle(lambda run: run.step_samples),
        seconds,
        nodes=agreed(run.nodes for run in group.runs),
        replicas=agreed(run.replicas for run in group.runs),
        training=middle(lambda run: rate(run).training),
        tracked=middle(lambda run: rate(run).tracked),
        on_clock=middle(lambda run: rate(run).on_clock),
        confirmed=all(rate(run).confirmed for run in runs),
        epochs=_known(statistics.fmean, (run.epochs for run in runs)),
        samples=_known(statistics.fmean, (run.samples for run in runs)),
        spacing=middle(_spacing),
        waiting=middle(lambda run: run.data_wait_fraction, valid),
        communication=middle(lambda run: run.communication_fraction, valid),
        evaluation=middle(lambda run: share(evaluation_s(run), run), valid),
        cold=middle(lambda run: share(cold_s(run), run), valid),
        outside=middle(lambda run: share(outside_s(run), run), valid),
    )


def _spacing(run: Run) -> float | None:
    """How far evaluations are apart, in epochs, or samples; the first may come late."""
    places = [each.samples if run.epochs is None else each.epochs for each in run.evaluations]
    known = sorted({place for place in places if place is not None})
    if len(known) < 2:
        return known[0] if known else None
    return statistics.median(after - before for before, after in pairwise(known))


def _known(average: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return average(known) if known else None
