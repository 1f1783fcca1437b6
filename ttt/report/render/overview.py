"""The table and charts of a study, as W&B shows them. May not know how a run of it is started."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttt.errors import one_line
from ttt.report.analyze.caveats import verdict
from ttt.report.analyze.hardware import Row
from ttt.report.analyze.names import differences, joined
from ttt.report.analyze.scaling import Point, Sweep
from ttt.report.analyze.score import Group, agreed
from ttt.report.analyze.stability import confidence
from ttt.report.analyze.study import Study
from ttt.sinks.series import sweep_point, workers

_EFFICIENCIES = ("throughput", "statistical", "overhead", "time_to_train")
COLUMNS = (
    *("experiment", "submitter", "system", "accelerator", "workers", "nodes", "global_batch"),
    *("precision", "runs", "converged", "score_s", "ci95_low_s", "ci95_high_s"),
    *("evaluation_interval_s", "samples_per_s", "accelerator_hours"),
    *("samples_per_j", "cost", "valid", "epochs", "speed_up"),
    *(f"{name}_efficiency" for name in _EFFICIENCIES),
    "bottleneck",
)


def show(tracker: Any, study: Study, groups: Sequence[Group]) -> None:
    """Log the table of these experiments, the curves of their sweeps, and every score.

    Args:
        tracker: A run of W&B.
        study: Has the sweeps.
        groups: Those of one benchmark.
    """
    import wandb  # noqa: PLC0415

    own = {id(group) for group in groups}
    sweeps = [sweep for sweep in study.sweeps if id(sweep.points[0].group) in own]
    points = {id(point.group): point for sweep in sweeps for point in sweep.points}
    machines = {id(row.group): row for row in study.rows}
    named = _names(groups)
    rows = [
        {"experiment": name} | _row(group, points.get(id(group)), machines.get(id(group)))
        for name, group in zip(named, groups, strict=True)
    ]
    table = wandb.Table(columns=list(COLUMNS), data=[list(row.values()) for row in rows])
    scatter = wandb.plot.scatter
    charts = {
        "time_to_train": scatter(table, "workers", "score_s", title="Time to train (s)"),
        "efficiency": scatter(
            table, "workers", "time_to_train_efficiency", title="Time-to-train efficiency"
        ),
    }
    tracker.log({"experiments": table} | (charts if sweeps else {}))
    _curves(tracker, sweeps)
    scores = {name: row["score_s"] for name, row in zip(named, rows, strict=True)}
    known = {name: score for name, score in scores.items() if score is not None}
    # W&B nests at dots.
    tracker.summary.update(
        {f"score_s/{name.replace('.', '_')}": score for name, score in known.items()}
    )
    if known:
        tracker.summary.update({"best_score_s": min(known.values())})


def attach(tracker: Any, page: Path, name: str) -> None:
    """Keep a file with the run, as the artifact of this name, as far as W&B takes it."""
    import wandb  # noqa: PLC0415

    artifact = wandb.Artifact(re.sub(r"[^\w.-]", "_", name, flags=re.ASCII), type="report")
    artifact.add_file(str(page))
    tracker.log_artifact(artifact)


def _row(group: Group, point: Point | None, machine: Row | None) -> dict[str, Any]:
    """A line of the table, named as the rest of `COLUMNS`."""
    facts, interval = _facts(group), confidence(group) or (None, None)
    row = {
        "submitter": facts["submitter"],
        "system": facts["system"],
        "accelerator": facts["accelerator_name"],
        "workers": workers(facts),
        "nodes": facts["nodes"],
        "global_batch": facts["global_batch"],
        "precision": facts["precision"],
        "runs": len(group.runs),
        "converged": sum(time is not None for time in group.times),
        "score_s": group.score.seconds,
        "ci95_low_s": interval[0],
        "ci95_high_s": interval[1],
        "evaluation_interval_s": group.resolution,
        "samples_per_s": machine and machine.samples_per_s,
        "accelerator_hours": machine and machine.accelerator_hours,
        "samples_per_j": machine and machine.samples_per_j,
        "cost": machine and machine.cost,
        "valid": verdict(group),
        "epochs": group.epochs and group.epochs.mean,
        "speed_up": point and point.speed_up,
    }
    row |= {
        f"{name}_efficiency": point and getattr(point.efficiency, name) for name in _EFFICIENCIES
    }
    return row | {"bottleneck": point and point.bottleneck}


def _facts(group: Group) -> dict[str, Any]:
    names = (
        "benchmark submitter system accelerator_name accelerators world_size nodes global_batch"
        " precision"
    )
    known = {name: agreed(getattr(run, name) for run in group.runs) for name in names.split()}
    return {name: one_line(said) if isinstance(said, str) else said for name, said in known.items()}


def _names(groups: Sequence[Group]) -> list[str]:
    """Owner and size of each, the same beside any other, and the settings that differ."""
    shown = [_told(_facts(group)) for group in groups]
    return [joined(*each) for each in zip(shown, differences(groups, shown), strict=True)]


def _told(facts: Mapping[str, Any]) -> str:
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
                f"time_to_train_s/{name}": point.seconds,
                f"time_to_train_s/{name}, ideal": first.seconds / growth,
                f"speed_up/{name}": point.speed_up,
                f"speed_up/{name}, ideal": growth,
                f"efficiency/{name}": point.efficiency.time_to_train,
            }
            tracker.log({key: value for key, value in row.items() if value is not None})


def _title(sweep: Sweep) -> str:
    machine = sweep.accelerator or "CPU"
    named = ", ".join(filter(None, (sweep.submitter, machine, f"{sweep.mode} scaling")))
    return one_line(named)
