"""How far runs had to train: in epochs, or in samples where epochs say nothing. Pure."""

from collections.abc import Sequence
from typing import Literal

from ttt.report.analyze.format import UNKNOWN, samples, significant
from ttt.report.analyze.score import Group, Spread, spread
from ttt.report.run import Run

Measure = Literal["epochs", "samples"]
_LEAST = 0.01  # of an epoch: below it readers count samples


def measure_of(groups: Sequence[Group]) -> Measure:
    """The measure of progress that fits all these experiments.

    Samples where a run sees less than a hundredth of the training set, as a language model does,
    and where some log says no epochs but all say samples.
    """
    runs = [run for group in groups for run in _converged(group)]
    little = any(run.epochs is not None and run.epochs < _LEAST for run in runs)
    unknown = any(run.epochs is None for run in runs)
    counted = any(run.samples is not None for run in runs)
    whole = all(run.samples is not None for run in runs)
    return "samples" if (little and counted) or (unknown and whole) else "epochs"


def progress(run: Run, measure: Measure) -> float | None:
    """How far a run came; None if its log does not say."""
    return run.epochs if measure == "epochs" else run.samples


def to_target(group: Group, measure: Measure) -> list[float]:
    """How far each run that counts had to go, ascending."""
    return sorted(
        value for run in _converged(group) if (value := progress(run, measure)) is not None
    )


def over_runs(group: Group, measure: Measure) -> Spread | None:
    """The same, as a spread; None where nothing is known."""
    return spread(to_target(group, measure))


def written(value: float | None, measure: Measure) -> str:
    """Epochs with four digits, whole where they are whole; samples as a count."""
    if value is None:
        return UNKNOWN
    if measure == "samples":
        return samples(value)
    text = significant(value, 4)
    return text.rstrip("0").rstrip(".") if "." in text else text


def _converged(group: Group) -> list[Run]:
    return [run for run, time in zip(group.runs, group.times, strict=True) if time is not None]
