"""Shows runs and scores: as tables in a terminal, and as plain values for a file.

May not know where runs come from, nor compute anything a reader could want to compute again.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ttt.compliance import LABEL
from ttt.report.runs import Found, Rejected, Run, find
from ttt.report.score import Group, Spread, agreed, group

UNKNOWN = "-"
_COLOURS = {"success": "green", "aborted": "yellow", "died": "red", "running": "cyan"}


def closing(run_dirs: Iterable[str | Path], console: Console) -> None:
    """Print the runs of a launch that has ended, and their score."""
    show(find(run_dirs), console)


def show(found: Found, console: Console) -> None:
    """Print a table and a score for each experiment, and what could not be read."""
    for each in group(found.runs):
        console.print(_table(each))
        for run in each.runs:
            if run.status != "success" and run.reason:
                console.print(Text(f"seed {_number(run.seed)}: {run.reason}"), soft_wrap=True)
        for line in score_lines(each):
            console.print(Text(line), soft_wrap=True)
        console.print()
    for path in found.rejected:
        console.print(Text(f"not used: {path.path}: {path.reason}", "yellow"), soft_wrap=True)


def _table(each: Group) -> Table:
    # Narrow: everything has to fit into 80 columns, where a batch job's output goes.
    table = Table(title=Text(_title(each)), title_justify="left", title_style="bold")
    table.box, table.show_edge, table.pad_edge = box.SIMPLE_HEAD, False, False
    table.padding = (0, 1, 0, 0)
    table.add_column("seed", justify="right")
    table.add_column("status")
    table.add_column("time-to-train", justify="right", no_wrap=True)
    table.add_column(agreed(run.metric for run in each.runs) or "quality", justify="right")
    for name in ("epochs", "samples/s", "data wait"):
        table.add_column(name, justify="right")
    table.add_column("compliance")
    for run in each.runs:
        status = run.status or UNKNOWN
        table.add_row(
            _number(run.seed),
            Text(status, _COLOURS.get(status, "")),
            _seconds(run.time_to_train_s, run.eval_interval_s),
            _number(run.quality, ".4f"),
            _number(run.epochs, ".4g"),
            _number(run.samples_per_s, ",.0f"),
            _number(run.data_wait_fraction, ".1%"),
            _compliance(run),
        )
    return table


def _title(each: Group) -> str:
    parts = [agreed(run.benchmark for run in each.runs) or "unknown benchmark"]
    if (target := agreed(run.target for run in each.runs)) is not None:
        parts.append(f"target {target:g}")
    if (world := agreed(run.world_size for run in each.runs)) is not None:
        parts.append(f"{world} process{'es' if world != 1 else ''}")
    if (nodes := agreed(run.nodes for run in each.runs)) is not None:
        parts.append(f"{nodes} node{'s' if nodes != 1 else ''}")
    parts += filter(None, [agreed(run.accelerator_name for run in each.runs)])
    return ", ".join(parts)


def _compliance(run: Run) -> Text:
    if run.passed is None:
        return Text("not checked")
    mark = "*" if run.official is False else ""
    return Text(f"passed{mark}", "green") if run.passed else Text(f"FAILED{mark}", "red")


def score_lines(each: Group) -> list[str]:
    """The score of an experiment in words, every time with its resolution."""
    converged = sum(time is not None for time in each.times)
    lines = []
    if each.score.seconds is None:
        lines.append(f"no score: {each.score.method}")
    else:
        minutes = each.score.seconds / 60
        score = _seconds(each.score.seconds, each.resolution)
        lines.append(f"score {score} = {minutes:.4g} min ({each.score.method})")
    lines.append(f"{converged} of {len(each.runs)} runs count")
    if each.time:
        lines.append(f"time-to-train in s: {_spread(each.time)}")
    if each.epochs:
        lines.append(f"epochs: {_spread(each.epochs)}")
    if each.resolution is not None:
        lines.append(f"± is one evaluation interval, {each.resolution:.3g} s at the longest")
    if ruleset := agreed(run.ruleset for run in each.runs):
        lines.append(f"compliance by ruleset {ruleset}")
    if any(run.official is False for run in each.runs):
        lines.append(f"* {LABEL}")
    return lines


def as_json(found: Found) -> dict[str, Any]:
    """The same as plain values, null for what is unknown."""
    return {
        "results": [_result(each) for each in group(found.runs)],
        "rejected": [_rejected(each) for each in found.rejected],
    }


def _result(each: Group) -> dict[str, Any]:
    seconds = each.score.seconds
    return {
        "submitter": None,
        "system": None,
        "benchmark": agreed(run.benchmark for run in each.runs),
        "official": agreed(run.official for run in each.runs),
        "ruleset": agreed(run.ruleset for run in each.runs),
        "division": agreed(run.division for run in each.runs),
        "metric": agreed(run.metric for run in each.runs),
        "target": agreed(run.target for run in each.runs),
        "accelerators": agreed(run.accelerators for run in each.runs),
        "accelerator_name": agreed(run.accelerator_name for run in each.runs),
        "nodes": agreed(run.nodes for run in each.runs),
        "world_size": agreed(run.world_size for run in each.runs),
        "runs": len(each.runs),
        "converged": sum(time is not None for time in each.times),
        "score_minutes": None if seconds is None else seconds / 60,
        "score_method": each.score.method,
        "scaled_score_minutes": None,
        "resolution_s": each.resolution,
        "efficiency": dict.fromkeys(("throughput", "statistical", "overhead", "time_to_train")),
        "seeds": [run.seed for run in each.runs],
        "statuses": [run.status for run in each.runs],
        "compliant": [run.passed for run in each.runs],
        "times_s": list(each.times),
        "epochs": [run.epochs for run in each.runs],
        "time_s": _plain(each.time),
        "epochs_to_target": _plain(each.epochs),
        "paths": [str(run.path) for run in each.runs],
    }


def _rejected(each: Rejected) -> dict[str, str]:
    return {"path": str(each.path), "reason": each.reason}


def _plain(of: Spread | None) -> dict[str, float | None] | None:
    return None if of is None else {"mean": of.mean, "std": of.std, "min": of.min, "max": of.max}


def _spread(of: Spread) -> str:
    std = "" if of.std is None else f", standard deviation {of.std:.3g}"
    return f"mean {of.mean:.4g}{std}, from {of.min:.4g} to {of.max:.4g}"


def _seconds(seconds: float | None, resolution: float | None) -> str:
    """A time no finer than its resolution is known: two digits of that, at most to the ms."""
    if seconds is None:
        return UNKNOWN
    if not resolution:
        return f"{seconds:.2f} s"
    digits = min(3, max(0, 1 - math.floor(math.log10(resolution))))
    return f"{seconds:.{digits}f} ± {resolution:.{digits}f} s"


def _number(value: float | None, form: str = "") -> str:
    return UNKNOWN if value is None else format(value, form)
