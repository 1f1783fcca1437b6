"""Shows a study in a terminal, all of it in a file or a pipe; a wider terminal shows more.

May not know where runs come from, nor compute anything a reader could want to compute again.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.text import Text

from ttt.compliance import LABEL
from ttt.errors import one_line
from ttt.report.analyze.caveats import broken, cautions, objections, remarks, why_failed
from ttt.report.analyze.format import number
from ttt.report.analyze.grouping import group
from ttt.report.analyze.names import differences, joined, whereabouts
from ttt.report.analyze.progress import measure_of, unit_of
from ttt.report.analyze.sentences import (
    INTERVAL,
    comparisons,
    held_back,
    rates,
    recount,
    side_by_side,
    whose,
)
from ttt.report.analyze.study import Study, Task
from ttt.report.read.find import find
from ttt.report.render import grids
from ttt.report.render.cells import Grid
from ttt.report.render.experiment import plain_table, show_experiment, title_of
from ttt.report.run import Rejected

_MANY = 40  # runs; more of them are read as a line for each experiment
_NAME = 20  # characters that a name keeps on a line


def closing(run_dirs: Iterable[str | Path], console: Console) -> None:
    """Print the runs of a launch that has ended, and their score."""
    found = find(run_dirs)
    for each in group(found.runs):
        show_experiment(each, console, title_of(each), unit_of([each]), measure_of([each]))
        for run in each.runs:
            if run.status == "success" and run.passed is False:
                _lines([f"seed {number(run.seed)}: compliance FAILED: {broken(run)}"], console)
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
        details = sum(len(each.runs) for each in study.experiments) <= _MANY
    for task in study.tasks:
        _task(task, console, details)
    _grid(grids.hardware(study, lambda each: each.apart), "Hardware", console)
    _lines(rates(study.tasks), console)
    _findings(study.tasks, console)
    _attempts(study, console)
    _rejected(study.rejected, console)
    if not details:
        _lines(list(_legend(study)), console)


def _legend(study: Study) -> Iterator[str]:
    """What the words of the tables mean, where no sentence of an experiment says it."""
    if study.experiments:
        yield INTERVAL
    if any(run.official is False for each in study.experiments for run in each.runs):
        yield f"unofficial is {LABEL}"


def _task(task: Task, console: Console, details: bool) -> None:
    if details:
        titles = [title_of(each) for each in task.experiments]
        more = differences(task.experiments, titles)
        for each, title, apart in zip(task.experiments, titles, more, strict=True):
            show_experiment(each, console, joined(title, apart), task.unit, task.measure)
            if folder := whereabouts(apart, each):
                console.print(Text(one_line(folder)), soft_wrap=True)
            for line in (*cautions([each], task.unit), *remarks(each)):
                console.print(Text(one_line(line), "yellow"), soft_wrap=True)
            console.print()
    else:
        _grid(grids.overview(task), task.title, console)
        numbered = filter(None, (whereabouts(each.name, each) for each in task.ranked))
        _lines([*numbered, *side_by_side(task), *objections(task.ranked)], console)
        _grid(grids.stability(task), "How sure the scores are", console)
        _lines(cautions(task.ranked, task.unit), console)
    for sweep in task.sweeps:
        _grid(grids.scaling(sweep, task), f"Scaling of {task.title} ({whose(sweep)})", console)
        _lines(held_back(sweep), console)
    _lines(comparisons(task), console)


def _findings(shown: Sequence[Task], console: Console) -> None:
    found = [(task, each) for task in shown for each in task.ranked if each.seen]
    if found:
        console.print(Text("What runs lost time to, and what to try", "bold"))
    for task, each in found:
        console.print(Text(f"{task.title}; {each.name}"), soft_wrap=True)
        for seen in each.seen:
            where = recount(seen, each)
            text = Text(f"  {one_line(seen.finding.what)}", "bold")
            text.append(f"{f' ({where})' if where else ''}: ", "not bold")
            text.append(one_line(f"{seen.finding.measured}; {seen.finding.advice}"), "not bold")
            console.print(text, soft_wrap=True)
    if found:
        console.print()


def _attempts(study: Study, console: Console) -> None:
    for run in study.attempts:
        line = one_line(f"never started: {run.path}: {why_failed(run)}")
        console.print(Text(line, "yellow"), soft_wrap=True)


def _rejected(rejected: Sequence[Rejected], console: Console) -> None:
    for each in rejected:
        line = one_line(f"not used: {each.path}: {each.reason}")
        console.print(Text(line, "yellow"), soft_wrap=True)


def _lines(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(Text(one_line(line)), soft_wrap=True)
    if lines:
        console.print()


def _grid(grid: Grid, title: str, console: Console) -> None:
    if not grid.rows:
        return
    table = plain_table()
    shown = _shown(grid, console.width)
    whole = _total(grid, shown) <= console.width
    widths = _widths(grid, shown, console.width)
    for place in shown:
        head = grid.heads[place]
        name = head.text if whole else head.brief or head.text
        justify: JustifyMethod = "right" if head.right else "left"
        table.add_column(name, justify=justify, width=widths[place], overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(row[place].text) for place in shown))
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(table)
    console.print()


def _shown(grid: Grid, width: int) -> list[int]:
    """The columns that fit; those a narrow terminal can do without go, the last of them first."""
    shown = [place for place, head in enumerate(grid.heads) if not head.page]
    for place in reversed(shown):
        if _total(grid, shown) <= width:
            break
        if grid.heads[place].wide:
            shown.remove(place)
    return shown


def _total(grid: Grid, shown: Sequence[int]) -> int:
    return sum(2 + _least(grid, place, grid.heads[place].text) for place in shown)


def _widths(grid: Grid, shown: Sequence[int], width: int) -> dict[int, int | None]:
    """Columns of the terminal for each; figures keep theirs, titles wrap, and names of systems do.

    What is left goes to names first, then to titles. Where it is not enough even so, titles are
    brief and names take what is left.
    """
    room = width - _total(grid, shown)
    if room < 0:
        return {
            place: _least(grid, place, grid.heads[place].brief or grid.heads[place].text)
            if grid.heads[place].right
            else None
            for place in shown
        }
    widths: dict[int, int | None] = {}
    for place in sorted(shown, key=lambda place: grid.heads[place].right):
        head = grid.heads[place]
        least = _least(grid, place, head.text)
        most = max(len(head.text), *(len(row[place].text) for row in grid.rows))
        more = min(room, max(0, most - least))
        if head.right and more < most - least:
            more = 0  # a title that wraps anyway wraps at its words
        widths[place], room = least + more, room - more
    return widths


def _least(grid: Grid, place: int, title: str) -> int:
    """The least width in which no figure and no word of a title is broken, nor a short name."""
    longest = max(len(row[place].text) for row in grid.rows)
    words = max(map(len, title.split(" ")))
    return max(words, longest if grid.heads[place].right else min(longest, _NAME))
