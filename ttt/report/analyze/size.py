"""What the runs of one experiment measured together, as scaling needs it. Pure."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.losses import cold_s, evaluation_s, outside_s, share
from ttt.report.analyze.rates import rate
from ttt.report.analyze.score import average
from ttt.report.run import Run


@dataclass(frozen=True, slots=True)
class Size:
    """One size of a machine, as its runs saw it: medians, but for means of progress.

    Times, rates and progress are of the runs whose mean the score is. Shares, which explain them,
    are of all that converged: of three runs a single one is left to make the score.

    Attributes:
        experiment: All its runs.
        workers: How many there are.
        global_batch: Samples, or tokens, per update.
        step_samples: Samples per update.
        seconds: The score.
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

    experiment: Experiment
    workers: int
    global_batch: int | None
    step_samples: float | None
    seconds: float
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

    def progress(self, base: "Size") -> tuple[float, float, str]:
        """How far it had to train and how far another had, and in what."""
        if self.epochs is not None and base.epochs is not None:
            return self.epochs, base.epochs, "epochs"
        return self.samples or 0.0, base.samples or 0.0, "samples"

    @property
    def step_ms(self) -> float | None:
        """Milliseconds of an update, by the rate while training; None where that is not sure."""
        if not self.step_samples or not self.training or not self.confirmed:
            return None
        return 1000 * self.step_samples / self.training


def measure(experiment: Experiment) -> Size | None:
    """The size of an experiment that has a score and whose workers are known; else None.

    Progress has to be averaged over the same runs as time: an outlier that the score left out would
    else turn up as an overhead.
    """
    count, seconds = experiment.workers, experiment.score.seconds
    if seconds is None or count is None or count < 1:
        return None
    runs, rates = experiment.counting, list(map(rate, experiment.counting))

    def middle(of: Callable[[Run], float | None], among: Sequence[Run] = runs) -> float | None:
        return average(statistics.median, map(of, among))

    def part(of: Callable[[Run], float | None]) -> float | None:
        return middle(lambda run: share(of(run), run), experiment.converged)

    return Size(
        experiment,
        count,
        experiment.global_batch,
        middle(lambda run: run.step_samples),
        seconds,
        training=average(statistics.median, (each.training for each in rates)),
        tracked=average(statistics.median, (each.tracked for each in rates)),
        on_clock=average(statistics.median, (each.on_clock for each in rates)),
        confirmed=all(each.confirmed for each in rates),
        epochs=average(statistics.fmean, (run.epochs for run in runs)),
        samples=average(statistics.fmean, (run.samples for run in runs)),
        spacing=middle(_spacing),
        waiting=middle(lambda run: run.data_wait_fraction, experiment.converged),
        communication=middle(lambda run: run.communication_fraction, experiment.converged),
        evaluation=part(evaluation_s),
        cold=part(cold_s),
        outside=part(outside_s),
    )


def _spacing(run: Run) -> float | None:
    """How far evaluations are apart, in epochs, or samples; the first may come late."""
    places = [each.samples if run.epochs is None else each.epochs for each in run.evaluations]
    known = sorted({place for place in places if place is not None})
    if len(known) < 2:
        return known[0] if known else None
    return statistics.median(after - before for before, after in pairwise(known))
