"""What the MLPerf log says of hyperparameters: what the parts log, and what `mlperf` adds."""

from typing import Any

from ttt.schema.run import RunConfig


def logged(run: RunConfig) -> dict[str, Any]:
    """Keys of the log and their values.

    Optimizer, schedule and data set log what they are; a benchmark's `mlperf` adds what they leave
    out. Where both have a key, `mlperf` wins, with its place in the log. A part of a user's own
    class logs nothing, and neither does one that was read from a run folder: there `mlperf` is
    complete.
    """
    optim, schedule, data = (_ours(part) for part in (run.optim, run.schedule, run.data))
    keys = schedule.logged(run.data) if schedule else {}
    keys = optim.logged(keys) if optim else keys
    keys |= data.logged() if data else {}
    return {key: value for key, value in keys.items() if key not in run.mlperf} | run.mlperf


def _ours(part: Any) -> Any:
    """The part, if it logs something and its class is the schema's own; else None."""
    schema = type(part)
    own = getattr(part, "_target_", None) != getattr(schema, "_target_", None)
    return None if own or not hasattr(schema, "logged") else part
