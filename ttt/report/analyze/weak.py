"""The throughput of MLPerf HPC: many models trained side by side, counted in models a minute. Pure.

"Weak scaling" in the rules up to v2.0 and in the names of folders (hpc_training_rules.adoc,
"Throughput"). Such runs repeat each other on shares of one machine, at the same time, so that none
of their times is a time-to-train of the system.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ttt.compliance import runs_needed, usage_of
from ttt.report.run import LARGEST, Run


@dataclass(frozen=True, slots=True)
class Weak:
    """How fast a system trained many models.

    Attributes:
        models: How many were trained.
        converged: How many of them count (M' in the rules).
        instance_scale: Accelerators of each (S); None if the logs do not say, or do not agree.
        seconds: From the first start to the last stop of those that count (TTTa).
        minutes: The same, with the digits of result_summarizer.
        models_per_minute: Those that count, over these minutes.
    """

    models: int
    converged: int
    instance_scale: int | None
    seconds: float
    minutes: float
    models_per_minute: float


def is_weak(run: Run) -> bool:
    """Whether this is one of many models: the folder says so, the log does not."""
    named = run.path.parent.parent.name == "weak"
    return named and bool(run.official) and usage_of(run.benchmark) == "hpc"


def crowded(runs: Sequence[Run]) -> str | None:
    """That the logs claim more accelerators for models at the same time than there are, if so.

    The scale of a model is what its log has as number_of_nodes, and some have all of the machine.
    """
    spans = [
        (run.stopped - run.elapsed_s, run.stopped)
        for run in runs
        if run.stopped is not None and run.elapsed_s is not None
    ]
    scale = max((run.instance_scale or 0 for run in runs), default=0)
    there = max((run.accelerators or 0 for run in runs), default=0)
    last_start = max((start for start, _ in spans), default=0.0)
    at_once = sum(stop > last_start for _, stop in spans)
    if not there or scale * at_once <= there:
        return None
    return (
        f"the logs give each of {at_once} models at the same time {scale:,} accelerators, and the"
        f" system has {there:,}"
    )


def throughput(runs: Sequence[Run], times: Sequence[float | None]) -> Weak | None:
    """The throughput that these runs reached together.

    Args:
        runs: One of each model.
        times: Time-to-train in seconds of each; None for one that does not count.

    Returns:
        None if fewer count than the rules demand, or if their clocks cannot be of one machine.
    """
    ends = [
        (run.stopped - time, run.stopped)
        for run, time in zip(runs, times, strict=True)
        if time is not None and run.stopped is not None
    ]
    counting = [run for run, time in zip(runs, times, strict=True) if time is not None]
    benchmark = next((run.benchmark for run in counting if run.benchmark), None)
    needed = None if benchmark is None else runs_needed(benchmark)
    if needed is None or len(ends) < max(1, needed):
        return None
    # Logs are in whole milliseconds, to which seconds since the epoch are rounded back.
    first = round(min(start for start, _ in ends) * 1000, 2)
    last = round(max(stop for _, stop in ends) * 1000, 2)
    if not 0 < last - first < LARGEST:
        return None
    minutes = (last - first) / 60 / 1000
    scales = {run.instance_scale for run in counting}
    return Weak(
        models=len(runs),
        converged=len(ends),
        instance_scale=scales.pop() if len(scales) == 1 else None,
        seconds=(last - first) / 1000,
        minutes=minutes,
        models_per_minute=len(ends) / minutes,
    )
