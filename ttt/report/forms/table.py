"""Shows a study in a terminal, in 80 columns where a batch job's output goes; wider shows more.

May not know where runs come from, nor compute anything a reader could want to compute again.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from ttt.compliance import LABEL
from ttt.report.analysis.score import Group, agreed, group
from ttt.report.analysis.study import Study
from ttt.report.analysis.words import UNKNOWN, number, printable, seconds, spread
from ttt.report.forms import grids
from ttt.report.forms.doubts import cautions, problems, remarks
from ttt.report.forms.grids import Grid
from ttt.report.forms.view import (
    Result,
    Task,
    compared,
    identity,
    laws,
    over,
    recount,
    tasks,
    whose,
)
from ttt.report.run import Rejected, Run
from ttt.report.source.find import find

_COLOURS = {"success": "green", "aborted": "yellow", "died": "red", "running": "cyan"}
_MANY = 40  # runs; more of them are read as a line for each experiment
_NAME = 20  # characters that a name keeps on a line


def closing(run_dirs: Iterable[str | Path], console: Console) -> None:
    """Print the runs of a launch that has ended, and their score."""
    found = find(run_dirs)
    for each in group(found.runs):
        _experiment(each, console, _title(each))
        console.print()
    _rejected(found.rejected, console)


def show_study(study: Study, console: Console, *, details: bool | None = None) -> None:
    """Print everything a study says.

    Args:
        study: What to print.
        console: Where.
        details: Whether every run has a line, or every experiment; by their number if None.
    """
    if details is None:
        details = sum(len(each.runs) for each in study.groups) <= _MANY
    shown = tasks(study)
    for task in shown:
        _task(task, console, details)
    _grid(grids.hardware(study.rows), "Hardware", console)
    several = study.profiles
    _grid(grids.profile(several), f"{over(several)} (1 is fastest in all)", console)
    _findings(shown, console)
    _rejected(study.rejected, console)
    if not details:
        _lines(list(_legend(study)), console)


def _legend(study: Study) -> Iterator[str]:
    """What the signs of the tables mean, where no experiment has told it."""
    if study.groups:
        yield "± is one evaluation interval: no time is known better than that"
    if any(run.official is False for group in study.groups for run in group.runs):
        yield f"unofficial is {LABEL}"


def _task(task: Task, console: Console, details: bool) -> None:
    if details:
        titles = [_title(each.group) for each in task.results]
        for each, title in zip(task.results, titles, strict=True):
            unclear = titles.count(title) > 1
            _experiment(each.group, console, f"{title}: {each.name}" if unclear else title)
            _sure(each, console)
            console.print()
    else:
        _grid(grids.overview(task.results), task.title, console)
        lines = [f"{each.name}: {problem}" for each in task.results for problem in problems(each)]
        _lines(lines, console)
        _grid(grids.stability(task.results), "How sure the scores are", console)
        told = [f"{each.name}: {line}" for each in task.results for line in cautions(each)]
        _lines(told, console)
    for sweep in task.sweeps:
        _grid(grids.scaling(sweep), f"Scaling of {task.title} ({whose(sweep)})", console)
        held = [f"{each.workers:,}: {each.bottleneck}" for each in sweep.points if each.bottleneck]
        fitted = laws(sweep)
        _lines([*held, *([fitted] if fitted else [])], console)
    name = {identity(each.group): each.name for each in task.results}
    _lines([compared(each, name) for each in task.comparisons], console)


def _sure(result: Result, console: Console) -> None:
    """What the run table and the score leave open."""
    if result.stability.interval is not None:
        low, high = result.stability.interval
        console.print(f"95 % sure to be between {low:.4g} and {high:.4g} s", soft_wrap=True)
    for line in (*cautions(result), *remarks(result)):
        console.print(Text(printable(line), "yellow"), soft_wrap=True)


def _findings(shown: Sequence[Task], console: Console) -> None:
    found = [(task, each) for task in shown for each in task.results if each.seen]
    if found:
        console.print(Text("What runs lost time to, and what to try", "bold"))
    for task, result in found:
        console.print(Text(f"{task.title}; {result.name}"), soft_wrap=True)
        for seen in result.seen:
            where = recount(seen, result.group)
            text = Text(f"  {printable(seen.finding.what)}", "bold")
            text.append(f"{f' ({where})' if where else ''}: ", "not bold")
            text.append(printable(f"{seen.finding.measured}; {seen.finding.advice}"), "not bold")
            console.print(text, soft_wrap=True)
    if found:
        console.print()


def _rejected(rejected: Sequence[Rejected], console: Console) -> None:
    for each in rejected:
        line = printable(f"not used: {each.path}: {each.reason}")
        console.print(Text(line, "yellow"), soft_wrap=True)


def _lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(Text(printable(line)), soft_wrap=True)
    if lines:
        console.print()


def _grid(grid: Grid, title: str, console: Console) -> None:
    if not grid.rows:
        return
    table = _plain_table()
    wide = _width(grid) <= console.width
    shown = [not head.page and (wide or not head.wide) for head in grid.heads]
    for place, head in enumerate(grid.heads):
        if shown[place]:
            name = head.text if wide else head.brief or head.text
            cells = [row[place].text for row in grid.rows]
            # Figures and words keep their width; titles wrap, and names of systems do.
            width = max(map(len, [*cells, *name.split()])) if head.right and not wide else None
            justify: JustifyMethod = "right" if head.right else "left"
            table.add_column(name, justify=justify, width=width, overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(cell.text) for cell, keep in zip(row, shown, strict=True) if keep))
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(table)
    console.print()


def _width(grid: Grid) -> int:
    """Columns of a terminal in which a table is shown whole; names wrap."""
    total = 0
    for place, head in enumerate(grid.heads):
        if not head.page:
            longest = max(len(row[place].text) for row in grid.rows)
            words = max(map(len, head.text.split(" ")))
            total += 2 + max(words, longest if head.right else min(longest, _NAME))
    return total


def _plain_table() -> Table:
    table = Table()
    table.box, table.show_edge, table.pad_edge = box.SIMPLE_HEAD, False, False
    table.padding = (0, 1, 0, 0)
    return table


def _experiment(each: Group, console: Console, title: str) -> None:
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(_runs(each))
    for run in each.runs:
        if run.status != "success" and run.reason:
            line = printable(f"seed {number(run.seed)}: {run.reason}")
            console.print(Text(printable(line)), soft_wrap=True)
    for line in score_lines(each):
        console.print(Text(printable(line)), soft_wrap=True)


def _runs(each: Group) -> Table:
    table = _plain_table()
    table.add_column("seed", justify="right")
    table.add_column("status")
    table.add_column("time-to-train", justify="right", no_wrap=True)
    metric = agreed(run.metric for run in each.runs) or "quality"
    table.add_column(Text(printable(metric)), justify="right")
    for name in ("epochs", "samples/s", "data wait"):
        table.add_column(name, justify="right")
    table.add_column("compliance")
    for run in each.runs:
        status = printable(run.status or UNKNOWN)
        table.add_row(
            number(run.seed),
            Text(status, _COLOURS.get(status, "")),
            seconds(run.time_to_train_s, run.eval_interval_s),
            number(run.quality, ".4f"),
            number(run.epochs, ".4g"),
            number(run.samples_per_s, ",.0f"),
            number(run.data_wait_fraction, ".1%"),
            _compliance(run),
        )
    return table


def _title(each: Group) -> str:
    parts = [agreed(run.benchmark for run in each.runs) or "unknown benchmark"]
    parts += filter(None, [agreed(run.submitter for run in each.runs)])
    if (target := agreed(run.target for run in each.runs)) is not None:
        parts.append(f"target {target:g}")
    if (world := agreed(run.world_size for run in each.runs)) is not None:
        parts.append(f"{world} process{'es' if world != 1 else ''}")
    if (nodes := agreed(run.nodes for run in each.runs)) is not None:
        parts.append(f"{nodes} node{'s' if nodes != 1 else ''}")
    if accelerators := agreed(run.accelerators for run in each.runs):
        name = agreed(run.accelerator_name for run in each.runs) or "accelerators"
        parts.append(f"{accelerators:,} x {name}")
    return printable(", ".join(parts))


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
        score = seconds(each.score.seconds, each.resolution)
        lines.append(f"score {score} = {minutes:.4g} min ({each.score.method})")
    if each.scaled_seconds is not None:
        lines.append(f"scaled for its convergence: {each.scaled_seconds / 60:.4g} min")
    lines.append(f"{converged} of {len(each.runs)} runs count")
    if each.time:
        lines.append(f"time-to-train in s: {spread(each.time)}")
    if each.epochs:
        lines.append(f"epochs: {spread(each.epochs)}")
    if each.resolution is not None:
        lines.append(f"± is one evaluation interval, {each.resolution:.3g} s at the longest")
    if ruleset := agreed(run.ruleset for run in each.runs):
        reason = agreed(run.ruleset_reason for run in each.runs)
        lines.append(f"compliance by ruleset {ruleset}" + (f", {reason}" if reason else ""))
    if any(run.official is False for run in each.runs):
        lines.append(f"* {LABEL}")
    return lines
