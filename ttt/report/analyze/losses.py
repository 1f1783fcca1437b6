"""Where the seconds of one run went, as far as its record tells. Pure; knows nothing of advice."""

from ttt.report.run import Run

_BLOCKS = 3  # with fewer the "steady" rate is that of a single other block


def cold_s(run: Run) -> float | None:
    """Seconds the first block took beyond what its samples take at the steady rate.

    Cold caches, a loader that fills its pipeline, kernels chosen on first use. None where blocks
    are too few or do not say their samples.
    """
    if len(run.blocks) < _BLOCKS or run.steady_samples_per_s is None:
        return None
    first = run.blocks[0]
    if first.samples is None or run.steady_samples_per_s <= 0:
        return None
    return max(0.0, first.seconds - first.samples / run.steady_samples_per_s)


def evaluation_s(run: Run) -> float | None:
    """Seconds in evaluations."""
    if run.eval_s is None and run.eval_fraction is not None and run.elapsed_s is not None:
        return run.eval_fraction * run.elapsed_s
    return run.eval_s


def outside_s(run: Run) -> float | None:
    """Seconds on the clock that were neither training nor evaluation nor lost with a process."""
    evaluation = evaluation_s(run)
    if run.elapsed_s is None or run.train_s is None or evaluation is None:
        return None
    return max(0.0, run.elapsed_s - run.train_s - evaluation - (run.lost_s or 0.0))


def share(seconds: float | None, run: Run) -> float | None:
    """Part of the time on the clock."""
    if seconds is None or run.elapsed_s is None or run.elapsed_s <= 0:
        return None
    return seconds / run.elapsed_s
