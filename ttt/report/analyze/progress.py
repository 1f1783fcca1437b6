"""In what times and progress of experiments are written, so that they compare. Pure."""

from collections.abc import Sequence
from typing import Literal

from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.format import UNKNOWN, samples, significant, unit_for
from ttt.report.analyze.score import Spread, spread
from ttt.report.run import Run

Measure = Literal["epochs", "samples"]
_LEAST = 0.01  # of an epoch: below it readers count samples


def unit_of(experiments: Sequence[Experiment]) -> str:
    """The one unit of all times of these experiments.

    MLPerf publishes minutes, however few: so does this as soon as one of them is official.
    """
    if any(run.official for each in experiments for run in each.runs):
        return "min"
    return unit_for([each.score.seconds for each in experiments])


def measure_of(experiments: Sequence[Experiment]) -> Measure:
    """The measure of progress that fits all these experiments.

    Samples where a run sees less than a hundredth of the training set, as a language model does,
    and where some log says no epochs but all say samples.
    """
    runs = [run for each in experiments for run in each.converged]
    little = any(run.epochs is not None and run.epochs < _LEAST for run in runs)
    unknown = any(run.epochs is None for run in runs)
    counted = any(run.samples is not None for run in runs)
    whole = all(run.samples is not None for run in runs)
    return "samples" if (little and counted) or (unknown and whole) else "epochs"


def progress(run: Run, measure: Measure) -> float | None:
    """How far a run came; None if its log does not say."""
    return run.epochs if measure == "epochs" else run.samples


def to_target(runs: Sequence[Run], measure: Measure) -> list[float]:
    """How far each of these runs had to go, ascending, as far as they say."""
    return sorted(value for run in runs if (value := progress(run, measure)) is not None)


def over_runs(experiment: Experiment, measure: Measure) -> Spread | None:
    """The same of all that count, as a spread; None where nothing is known."""
    return spread(to_target(experiment.converged, measure))


def written(value: float | None, measure: Measure) -> str:
    """Epochs with four digits, whole where they are whole; samples as a count."""
    if value is None:
        return UNKNOWN
    if measure == "samples":
        return samples(value)
    text = significant(value, 4)
    return text.rstrip("0").rstrip(".") if "." in text else text
