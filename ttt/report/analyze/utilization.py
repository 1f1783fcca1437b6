"""Which share of the machine the runs of an experiment used, by MLCommons' formula. Pure.

The runtime is the mean of the runs whose mean the score is (training_rules.adoc, "Appendix:
Utilization"); the work of these is added up likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ttt.flops import formulas
from ttt.report.analyze.score import agreed
from ttt.report.run import Run


@dataclass(frozen=True, slots=True)
class Used:
    """What was used of a machine; None is unknown.

    Attributes:
        flop_per_s: FLOPs of the model that each worker did in a second.
        share: Of the peak.
        reason: Why there is no share.
    """

    flop_per_s: float | None = None
    share: float | None = None
    reason: str | None = None


def used(runs: Sequence[Run]) -> Used:
    """What these runs used, together.

    Args:
        runs: Those whose mean the score is.
    """
    stated = agreed(run.utilization_reason for run in runs)
    if not runs or not all(map(_certain, runs)):
        return Used(reason=stated)
    seconds, workers = sum(run.elapsed_s or 0.0 for run in runs), agreed(map(_workers, runs))
    work = sum((run.flop_per_sample or 0.0) * (run.samples or 0.0) for run in runs)
    rate = formulas.flop_per_s(1.0, work, workers, seconds)
    peak = agreed(run.peak_flop_per_s for run in runs)
    if rate is None or peak is None:
        return Used(rate, reason=stated)
    if impossible := formulas.impossible(rate / peak):
        return Used(reason=impossible)
    return Used(rate, rate / peak)


def _certain(run: Run) -> bool:
    known = (run.flop_per_sample, run.samples, run.elapsed_s, _workers(run))
    return all(known) and run.clock_trusted and run.samples_certain


def _workers(run: Run) -> int | None:
    return run.accelerators or run.nodes
