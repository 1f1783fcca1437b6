"""Writes a study as one page of HTML that needs nothing else: no network, no script to be read.

The script only sorts tables and may be off. All text is escaped by the template, since a log may
hold anything; only the drawings are markup, which escape their own text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

from ttt.compliance import LABEL
from ttt.errors import ESCAPE, ConfigError, MissingExtra
from ttt.report.analysis.study import Study
from ttt.report.analysis.words import counted, printable
from ttt.report.forms import grids
from ttt.report.forms.charts import Chart, charts, inline_svg
from ttt.report.forms.doubts import cautions, problems
from ttt.report.forms.grids import Grid
from ttt.report.forms.view import (
    Result,
    Task,
    answer,
    compared,
    identity,
    laws,
    over,
    recount,
    sentence,
    tasks,
    whose,
)

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class _Figure:
    name: str
    title: str
    caption: str
    svg: "Markup"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the page; `name` is its anchor."""

    name: str
    title: str
    grid: Grid
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Note:
    """What was found in the runs of one experiment, and what to try."""

    name: str
    found: tuple[tuple[str, str, str, str], ...]


@dataclass(frozen=True, slots=True)
class _Section:
    """A task as the template shows it."""

    name: str
    title: str
    answer: str
    results: _Table
    figures: tuple[_Figure, ...]
    scaling: tuple[_Table, ...]
    stability: _Table
    notes: tuple[_Note, ...]


def write_page(study: Study, path: str | Path, *, command: str = "ttt report PATH...") -> None:
    """Write the page.

    Args:
        study: What it says.
        path: The file.
        command: What to type to get the same page from the same runs.

    Raises:
        ConfigError: The file cannot be written.
        MissingExtra: jinja2 or matplotlib is not installed.
    """
    text = page(study, command=command)
    try:
        # A file name on Linux may be no text, and a page has to be.
        Path(path).write_text(text, encoding="utf-8", errors=ESCAPE)
    except OSError as error:
        raise ConfigError([f"--html {path} cannot be written: {error.strerror}"]) from error


def page(study: Study, *, command: str) -> str:
    """The page's source; see `write_page`."""
    try:
        import jinja2  # noqa: PLC0415  an optional dependency
    except ImportError as error:
        raise MissingExtra("jinja2", "report", "the page of a report") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("ttt.report.forms").joinpath("page.html.j2").read_text("utf-8")
    drawn, several = charts(study), study.profiles
    sections = [_section(place, task, drawn) for place, task in enumerate(tasks(study), 1)]
    return environment.from_string(source).render(
        read=_read(study),
        sections=sections,
        hardware=_Table("hardware", "Hardware", grids.hardware(study.rows)),
        profile=_Table(
            "profile",
            over(several),
            grids.profile(several),
        ),
        profiles=[_figure(chart) for chart in drawn if chart.task is None],
        rejected=[(printable(str(each.path)), printable(each.reason)) for each in study.rejected],
        label=LABEL
        if any(run.official is False for group in study.groups for run in group.runs)
        else "",
        command=printable(command),
        version=_version(),
    )


def _read(study: Study) -> str:
    runs = sum(len(group.runs) for group in study.groups)
    text = f"{counted(runs, 'run')} of {counted(len(study.groups), 'experiment')}"
    if study.rejected:
        text += f"; {counted(len(study.rejected), 'path')} could not be used"
    return text


def _section(place: int, task: Task, drawn: Sequence[Chart]) -> _Section:
    name = f"{place}-" + re.sub("[^a-z0-9]+", "-", task.title.lower()).strip("-")
    wrong = [f"{_of(each, task)}{line}" for each in task.results for line in problems(each)]
    named = {identity(each.group): each.name for each in task.results}
    unsure = [f"{_of(each, task)}{line}" for each in task.results for line in cautions(each)]
    pairs = [compared(each, named) for each in task.comparisons]
    return _Section(
        name=name,
        title=task.title,
        answer=answer(task),
        results=_Table(f"results-{name}", "Results", grids.overview(task.results), _clean(wrong)),
        figures=tuple(_figure(chart) for chart in drawn if chart.task == task.title),
        scaling=tuple(
            _Table(
                f"scaling-{name}-{number}",
                f"Scaling, {whose(sweep)}: {sweep.mode}",
                grids.scaling(sweep),
                _clean(
                    [f"{each.workers:,}: {each.bottleneck}" for each in sweep.points[1:]
                     if each.bottleneck] + [laws(sweep)]
                ),
            )
            for number, sweep in enumerate(task.sweeps, 1)
        ),
        stability=_Table(
            f"stability-{name}",
            "How sure the scores are",
            grids.stability(task.results),
            _clean([*pairs, *unsure]),
        ),
        notes=tuple(_notes(task)),
    )  # fmt: skip


def _of(result: Result, task: Task) -> str:
    """Says whose a line is, where that is not plain."""
    return f"{result.name}: " if len(task.results) > 1 else ""


def _notes(task: Task) -> list[_Note]:
    return [
        _Note(
            each.name,
            tuple(
                (
                    printable(seen.finding.what),
                    recount(seen, each.group),
                    sentence(seen.finding.measured),
                    sentence(seen.finding.advice),
                )
                for seen in each.seen
            ),
        )
        for each in task.results
        if each.seen
    ]


def _clean(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(printable(line) for line in lines if line)


def _figure(chart: Chart) -> _Figure:
    from markupsafe import Markup  # noqa: PLC0415  comes with jinja2

    return _Figure(chart.name, chart.title, chart.caption, Markup(inline_svg(chart)))


def _version() -> str:
    try:
        return metadata.version("ttt")
    except metadata.PackageNotFoundError:  # run from its source
        return "from source"
