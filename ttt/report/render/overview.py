"""The table and charts of a study, as W&B shows them. May not know how a run of it is started."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttt.errors import one_line
from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.names import differences, joined
from ttt.report.analyze.scaling import Sweep
from ttt.report.analyze.study import Study
from ttt.sinks.series import sweep_point, workers

_EFFICIENCIES = ("throughput", "statistical", "overhead", "time_to_train")
_FACTS = (
    "benchmark submitter system accelerator_name accelerators world_size nodes global_batch"
    " precision"
).split()


def show(tracker: Any, study: Study, experiments: Sequence[Experiment]) -> None:
    """Log the table of these experiments, the curves of their sweeps, and every score.

    Args:
        tracker: A run of W&B.
        study: Has the sweeps.
        experiments: Those of one benchmark, one or more.
    """
    import wandb  # noqa: PLC0415

    sweeps = [each for each in study.sweeps if each.points[0].experiment in experiments]
    named = _names(experiments)
    rows = [_row(each, name) for each, name in zip(experiments, named, strict=True)]
    table = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
    scatter = wandb.plot.scatter
    charts = {
        "time_to_train": scatter(table, "workers", "score_s", title="Time to train (s)"),
        "efficiency": scatter(
            table, "workers", "time_to_train_efficiency", title="Time-to-train efficiency"
        ),
    }
    tracker.log({"experiments": table} | (charts if sweeps else {}))
    _curves(tracker, sweeps)
    scores = {row["experiment"]: row["score_s"] for row in rows if row["score_s"] is not None}
    # W&B nests at dots.
    tracker.summary.update(
        {f"score_s/{name.replace('.', '_')}": score for name, score in scores.items()}
    )
    if scores:
        tracker.summary.update({"best_score_s": min(scores.values())})


def attach(tracker: Any, page: Path, name: str) -> None:
    """Keep a file with the run, as the artifact of this name, as far as W&B takes it."""
    import wandb  # noqa: PLC0415

    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "_", name, flags=re.ASCII), type="report")
    artifact.add_file(str(page))
    tracker.log_artifact(artifact)


def _row(of: Experiment, name: str) -> dict[str, Any]:
    """A line of the table, by its columns."""
    facts, (low, high) = _facts(of), of.interval or (None, None)
    efficiency = of.point and of.point.efficiency
    return {
        "experiment": name,
        "submitter": facts["submitter"],
        "system": facts["system"],
        "accelerator": facts["accelerator_name"],
        "workers": workers(facts),
        "nodes": facts["nodes"],
        "global_batch": facts["global_batch"],
        "precision": facts["precision"],
        "runs": len(of.runs),
        "converged": len(of.converged),
        "score_s": of.score.seconds,
        "ci95_low_s": low,
        "ci95_high_s": high,
        "evaluation_interval_s": of.resolution,
        "samples_per_s": of.row.samples_per_s,
        "utilization": of.row.used.share,
        "accelerator_hours": of.row.accelerator_hours,
        "samples_per_j": of.row.samples_per_j,
        "cost": of.row.cost,
        "valid": of.verdict,
        "epochs": of.epochs and of.epochs.mean,
        "speed_up": of.point and of.point.speed_up,
        **{f"{each}_efficiency": getattr(efficiency, each, None) for each in _EFFICIENCIES},
        "bottleneck": of.point and of.point.bottleneck,
    }


def _facts(of: Experiment) -> dict[str, Any]:
    known = {name: getattr(of, name) for name in _FACTS}
    return {name: one_line(each) if isinstance(each, str) else each for name, each in known.items()}


def _names(experiments: Sequence[Experiment]) -> list[str]:
    """Owner and size of each, the same beside any other, and the settings that differ."""
    shown = [_written(_facts(each)) for each in experiments]
    return [joined(*each) for each in zip(shown, differences(experiments, shown), strict=True)]


def _written(facts: Mapping[str, Any]) -> str:
    owner = " ".join(filter(None, (facts["submitter"], facts["system"])))
    return ", ".join(filter(None, (owner, sweep_point(facts))))


def _curves(tracker: Any, sweeps: Sequence[Sweep]) -> None:
    """Log each sweep as lines over workers, which W&B can draw log-log, the ideal beside them."""
    for values in ("time_to_train_s/*", "speed_up/*", "efficiency/*"):
        tracker.define_metric(values, step_metric="workers")
    for sweep in sweeps:
        name, first = _title(sweep), sweep.points[0]
        for point in sweep.points:
            growth = point.workers / first.workers
            row = {
                "workers": point.workers,
                f"time_to_train_s/{name}": point.time_to_train_s,
                f"time_to_train_s/{name}, ideal": first.time_to_train_s / growth,
                f"speed_up/{name}": point.speed_up,
                f"speed_up/{name}, ideal": growth,
                f"efficiency/{name}": point.efficiency.time_to_train,
            }
            tracker.log({key: value for key, value in row.items() if value is not None})


def _title(sweep: Sweep) -> str:
    machine = sweep.accelerator or "CPU"
    named = ", ".join(filter(None, (sweep.submitter, machine, f"{sweep.mode} scaling")))
    return one_line(named)
