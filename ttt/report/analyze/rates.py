"""How many samples a second a run trained, by two witnesses; what to say where they differ. Pure.

One witness is the clock: samples over the time between run_start and run_stop. The other is what
the submitter's own code tracked, or ttt's worker measured. A rate while training comes from the
pieces of training in the log. It is believed if these account for the clock, or if the tracked rate
agrees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.losses import cold_s, evaluation_s, outside_s, share
from ttt.report.run import LARGEST, Run

_UNITS = 1.5  # by which a rate of one accelerator, as some track it, may miss that of all
_LEAST = 1e-9  # samples a second; nothing trains as slowly
DIFFER = 0.15  # share by which two witnesses may differ and still say the same


@dataclass(frozen=True, slots=True)
class Rate:
    """Samples a second of one run, over all workers.

    Attributes:
        on_clock: Over all the time on the clock; None if unknown, or if a witness contradicts it.
        training: While training, without the first block; None if unknown or not believed.
        tracked: What the submitter's code tracked.
        confirmed: Whether two witnesses agree on `training`.
        remark: Which was used and why, where they differ by more than 15 %; None where they agree.
    """

    on_clock: float | None = None
    training: float | None = None
    tracked: float | None = None
    confirmed: bool = False
    remark: str | None = None


def clock_rate(run: Run) -> float | None:
    """Samples over time on the clock; None if unknown or contradicted by what the log tracked."""
    return rate(run).on_clock


def rate(run: Run) -> Rate:
    """The rates of a run, as far as they are known and believed."""
    steady = _measured(run.steady_samples_per_s) or _measured(run.samples_per_s)
    tracked = _measured(run.tracked_samples_per_s)
    elapsed_s = run.elapsed_s if run.clock_trusted else None
    on_clock = _measured(run.samples / elapsed_s if run.samples and elapsed_s else None)
    if on_clock is None:
        agreed = alike(steady, tracked)
        return Rate(training=steady if agreed else None, tracked=tracked, confirmed=agreed)
    # Some leave the first steps out of what they track, some do not.
    if tracked is None or alike(steady, tracked) or alike(run.samples_per_s, tracked):
        return _by_pieces(run, on_clock, steady, tracked)
    if not run.samples_certain and not alike(on_clock, tracked):
        return Rate(
            tracked=tracked,
            remark=f"the samples of the log over its time give {_per_s(on_clock)}, and the log"
            f" tracked {_per_s(tracked)}: one of them counts something else, so none is used",
        )
    if on_clock > _UNITS * tracked * max(1, run.accelerators or run.world_size or 1):
        return Rate(
            tracked=tracked,
            remark=f"the samples of the log over its time give {_per_s(on_clock)}, and the log"
            f" tracked {_per_s(tracked)}: no unit explains that, so none is used",
        )
    if tracked < (1 - DIFFER) * on_clock:
        found = _by_pieces(run, on_clock, steady, None)
        why = (
            f"the log tracked {_per_s(tracked)}, by which its samples would take"
            f" {on_clock / tracked:.3g} times as long as the clock ran; the"
            f" {_per_s(on_clock)} on the clock are used"
        )
        return Rate(on_clock, found.training, tracked, found.confirmed, why)
    return _against(run, on_clock, steady, tracked)


def _by_pieces(run: Run, on_clock: float, steady: float | None, tracked: float | None) -> Rate:
    """Where the pieces of training are the only witness beside the clock, or the other agrees."""
    if steady is None:
        return Rate(on_clock, None, tracked)
    if tracked is None and not _accounts(run):
        return Rate(
            on_clock,
            remark=f"the log's pieces of training give {_per_s(steady)}, but do not account for the"
            f" time: the {_per_s(on_clock)} on the clock are used",
        )
    remark = None
    if not alike(steady, on_clock):
        lost = 1 - on_clock / steady
        remark = (
            f"{_per_s(steady)} in steady training, {_per_s(on_clock)} on the clock"
            f"{_because(run, lost)}"
        )
    return Rate(on_clock, steady, tracked, confirmed=True, remark=remark)


def _against(run: Run, on_clock: float, steady: float | None, tracked: float) -> Rate:
    """Where the log tracked more than its pieces of training say, which is possible."""
    if steady is not None and _accounts(run):
        why = (
            f"the log tracked {_per_s(tracked)}; its pieces of training account for the time and"
            f" give {_per_s(steady)}, which is used"
        )
        return Rate(on_clock, steady, tracked, remark=why)
    if alike(tracked, on_clock):
        return Rate(on_clock, tracked, tracked, confirmed=True)
    why = (
        f"the log tracked {_per_s(tracked)} and does not tell what else took time: the"
        f" {_per_s(on_clock)} on the clock are used"
    )
    return Rate(on_clock, None, tracked, remark=why)


def alike(first: float | None, second: float | None) -> bool:
    """Whether both are known and differ by no more than 15 % of the larger."""
    if first is None or second is None:
        return False
    return math.isclose(first, second, rel_tol=DIFFER)


def _accounts(run: Run) -> bool:
    """Whether training and evaluation, as they were read, make up the time on the clock."""
    if run.train_s is None or not run.elapsed_s:
        return False
    known = run.train_s + (evaluation_s(run) or 0.0) + (run.lost_s or 0.0)
    return abs(run.elapsed_s - known) <= DIFFER * run.elapsed_s


def _because(run: Run, lost: float) -> str:
    """What the clock had beside steady training, as ", of which evaluation 12%".

    Args:
        run: The run.
        lost: Share of the time that steady training would not have taken.
    """
    parts = {
        "evaluation": evaluation_s(run),
        "the cold first block": cold_s(run),
        "what is neither training nor evaluation": outside_s(run),
        "interruptions": run.lost_s,
    }
    shares = {name: share(seconds, run) or 0.0 for name, seconds in parts.items()}
    shares["training slower than most of the time"] = lost - sum(shares.values())
    listed = [f"{name} {part:.0%}" for name, part in shares.items() if part >= 0.02]
    return f", of which {' and '.join(listed)}" if listed else ""


def _measured(value: float | None) -> float | None:
    """The value if something can have measured it."""
    return value if value is not None and _LEAST < value < LARGEST else None


def _per_s(value: float) -> str:
    digits = 2 - math.floor(math.log10(value))
    return f"{round(value, digits):,.{max(0, digits)}f}/s"


def throughput(experiment: Experiment, samples_per_s: float | None) -> tuple[float | None, str]:
    """What is done in a second, and of what: tokens where all samples have as many."""
    length = experiment.sequence_length
    if samples_per_s is None or length is None:
        return samples_per_s, "samples"
    return samples_per_s * length, "tokens"


def remarks(runs: Sequence[Run]) -> list[str]:
    """Remarks about the rates of runs that repeat each other.

    They differ by little: one sentence stands for all that have one, that of the run in the middle.
    """
    remarked = [(found.on_clock or 0.0, found.remark) for found in map(rate, runs) if found.remark]
    if not remarked:
        return []
    remarked.sort()
    sentence = remarked[(len(remarked) - 1) // 2][1]
    some = f"{len(remarked)} of {len(runs)} runs: " if len(remarked) < len(runs) else ""
    return [f"{some}{sentence}"]
