"""Shows one experiment in a terminal: a line for each run, then its score in words."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ttt.compliance import LABEL
from ttt.errors import one_line
from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.format import (
    UNKNOWN,
    between,
    duration,
    energy,
    number,
    significant,
    spread,
)
from ttt.report.analyze.names import machine
from ttt.report.analyze.progress import Measure, over_runs, progress, written
from ttt.report.analyze.rates import clock_rate, throughput
from ttt.report.analyze.sentences import weak
from ttt.report.run import Run

_COLOURS = {
    "success": "green",
    "aborted": "yellow",
    "unreadable": "yellow",
    "died": "red",
    "running": "cyan",
}


def plain_table() -> Table:
    """A table with a line below its head and no other."""
    table = Table()
    table.box, table.show_edge, table.pad_edge = box.SIMPLE_HEAD, False, False
    table.padding = (0, 1, 0, 0)
    return table


def show_experiment(
    each: Experiment, console: Console, title: str, unit: str, measure: Measure
) -> None:
    """Print it.

    Args:
        each: Its runs.
        console: Where.
        title: What it is called.
        unit: Of times.
        measure: Of progress.
    """
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(_runs(each, unit, measure))
    for run in each.runs:
        if run.status != "success" and run.reason:
            line = one_line(f"seed {number(run.seed)}: {run.reason}")
            console.print(Text(one_line(line)), soft_wrap=True)
    for line in score_lines(each, unit, measure):
        console.print(Text(one_line(line)), soft_wrap=True)


def _runs(each: Experiment, unit: str, measure: Measure) -> Table:
    metric = each.metric or "quality"
    waited = any(run.data_wait_fraction is not None for run in each.runs)
    per_second = throughput(each, 1.0)[1]
    table = plain_table()
    table.add_column("seed", justify="right")
    table.add_column("status")
    table.add_column("time-to-train", justify="right", no_wrap=True)
    figures = [one_line(metric), measure, f"{per_second}/s", *(["data wait"] if waited else [])]
    for name in figures:
        table.add_column(Text(name), justify="right")
    table.add_column("compliance")
    for run in each.runs:
        status = one_line(run.status or UNKNOWN)
        table.add_row(
            number(run.seed),
            Text(status, _COLOURS.get(status, "")),
            duration(run.time_to_train_s, unit, digits=4),
            number(run.quality, ".4f"),
            written(progress(run, measure), measure),
            significant(throughput(each, clock_rate(run))[0]),
            *([number(run.data_wait_fraction, ".1%")] if waited else []),
            _compliance(run),
        )
    return table


def title_of(each: Experiment) -> str:
    """What was trained, to what, and on what."""
    parts = [each.benchmark or "unknown benchmark"]
    parts += filter(None, [each.submitter])
    if each.target is not None:
        parts.append(f"target {each.target:g}")
    if each.world_size is not None:
        parts.append(f"{each.world_size} process{'es' if each.world_size != 1 else ''}")
    if each.unit == "node":
        parts.append(machine(each))
    elif each.nodes is not None:
        parts.append(f"{each.nodes} node{'s' if each.nodes != 1 else ''}")
    if each.accelerators:
        parts.append(f"{each.accelerators:,} x {each.accelerator_name or 'accelerators'}")
    return one_line(", ".join(parts))


def _compliance(run: Run) -> Text:
    if run.passed is None:
        return Text("not checked")
    mark = "*" if run.official is False else ""
    return Text(f"passed{mark}", "green") if run.passed else Text(f"FAILED{mark}", "red")


def score_lines(each: Experiment, unit: str, measure: Measure) -> list[str]:
    """The score of an experiment in words, and how sure it is."""
    lines = [_score(each, unit)]
    if each.scaled_seconds is not None:
        scaled = duration(each.scaled_seconds, unit, each.interval)
        lines.append(f"scaled for its convergence: {scaled}")
    lines.append(f"{len(each.converged)} of {len(each.runs)} runs count")
    if each.time:
        times = spread(
            each.time,
            lambda value: duration(value, unit, digits=4),
            lambda value: duration(value, unit, digits=2),
        )
        lines.append(f"time-to-train: {times}")
    if known := over_runs(each, measure):
        taken = spread(known, lambda value: written(value, measure), significant)
        lines.append(f"{measure}: {taken}")
    if each.energy_j is not None:
        lines.append(f"energy to the target: {energy(each.energy_j)}")
    if each.resolution is not None:
        lines.append(f"evaluated every {duration(each.resolution, unit)}")
    if each.ruleset:
        reason = f", {each.ruleset_reason}" if each.ruleset_reason else ""
        lines.append(f"compliance by ruleset {each.ruleset}{reason}")
    if any(run.official is False for run in each.runs):
        lines.append(f"* {LABEL}")
    return lines


def _score(each: Experiment, unit: str) -> str:
    if each.weak is not None:
        return f"weak scaling: {weak(each)}"
    if each.score.seconds is None:
        return f"no score: {each.score.method}"
    seconds, known = each.score.seconds, each.interval
    sure = f", 95%: {between(seconds, unit, known)} {unit}" if known else ""
    return f"score {duration(seconds, unit, known)}{sure} ({each.score.method})"
