"""What the MLPerf log says of hyperparameters: what the parts log, and what `mlperf` adds."""

from typing import Any

from ttt.schema.run import RunConfig


def logged(run: RunConfig) -> dict[str, Any]:
    """Keys of the log and their values.

    Optimizer, schedule and data set log what they are; a benchmark's `mlperf` adds what they leave
    out. Where both have a key, `mlperf` wins, with its place in the log. A part of a user's own
    without a schema logs nothing, and neither does one that was read from a run folder: there
    `mlperf` is complete.
    """
    keys = of_parts(run)
    return {key: value for key, value in keys.items() if key not in run.mlperf} | run.mlperf


def of_parts(run: RunConfig) -> dict[str, Any]:
    """What optimizer, schedule and data set log of themselves."""
    keys = run.schedule.logged(run.data) if hasattr(run.schedule, "logged") else {}
    keys = run.optim.logged(keys) if hasattr(run.optim, "logged") else keys
    return keys | (run.data.logged() if hasattr(run.data, "logged") else {})
