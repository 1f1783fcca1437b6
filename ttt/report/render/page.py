"""Writes a study as one page of HTML that needs nothing else: no network, no script to be read.

The script only sorts tables and may be off. All text is escaped by the template, since a log may
hold anything; only the drawings are markup, which escape their own text. Should anything slip
through all the same, the page's policy keeps a browser from executing or fetching it.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING

from ttt.compliance import LABEL
from ttt.errors import ESCAPE, ConfigError, MissingExtra, one_line
from ttt.report.analyze.caveats import cautions, objections, why_failed
from ttt.report.analyze.format import counted
from ttt.report.analyze.sentences import (
    INTERVAL,
    answer,
    comparisons,
    held_back,
    rates,
    recount,
    sentence,
    side_by_side,
    whose,
)
from ttt.report.analyze.study import Study, Task
from ttt.report.render import grids
from ttt.report.render.cells import Grid
from ttt.report.render.charts import Chart, charts, inline_svg

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
    seeds: _Table
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
    style, script = _part("page.css"), _part("page.js")
    drawn = charts(study)
    sections = [_section(place, task, drawn) for place, task in enumerate(study.tasks, 1)]
    table = grids.hardware(study, lambda each: each.name)
    return environment.from_string(_part("page.html.j2")).render(
        policy=_markup(_policy(style, script)),
        style=_markup(style),
        script=_markup(script),
        read=_read(study),
        sections=sections,
        hardware=_Table("hardware", "Hardware", table, _clean(rates(study.tasks))),
        interval=sentence(INTERVAL),
        attempts=[(one_line(str(run.path)), one_line(why_failed(run))) for run in study.attempts],
        rejected=[(one_line(str(each.path)), one_line(each.reason)) for each in study.rejected],
        label=LABEL
        if any(run.official is False for each in study.experiments for run in each.runs)
        else "",
        command=one_line(command),
        version=_version(),
    )


def _part(name: str) -> str:
    return resources.files("ttt.report.render").joinpath(name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """What a browser may do with the page (Content-Security-Policy, w3.org/TR/CSP3): nothing else.

    Matplotlib writes the looks of a figure into attributes, which no hash covers.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "style-src-attr 'unsafe-inline'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _read(study: Study) -> str:
    runs, failed = sum(len(each.runs) for each in study.hardware), len(study.attempts)
    text = f"{counted(runs, 'run')} of {counted(len(study.hardware), 'experiment')}"
    text += f"; {counted(failed, 'run')} never started" if failed else ""
    if study.rejected:
        text += f"; {counted(len(study.rejected), 'path')} could not be used"
    return text


def _section(place: int, task: Task, drawn: Sequence[Chart]) -> _Section:
    against = [*side_by_side(task), *objections(task.ranked)]
    name = f"{place}-" + re.sub("[^a-z0-9]+", "-", task.title.lower()).strip("-")
    return _Section(
        name=name,
        title=task.title,
        answer=answer(task),
        results=_Table(
            f"results-{name}", "Results", grids.overview(task), _clean(against)
        ),
        figures=tuple(_figure(chart) for chart in drawn if chart.task == task.title),
        scaling=tuple(
            _Table(
                f"scaling-{name}-{number}",
                f"Scaling, {whose(sweep)}: {sweep.mode}",
                grids.scaling(sweep, task),
                _clean(held_back(sweep)),
            )
            for number, sweep in enumerate(task.sweeps, 1)
        ),
        stability=_Table(
            f"stability-{name}",
            "How sure the scores are",
            grids.stability(task),
            _clean([*comparisons(task), *cautions(task.ranked, task.unit)]),
        ),
        seeds=_Table(f"seeds-{name}", "Every run", grids.seeds(task)),
        notes=tuple(_notes(task)),
    )  # fmt: skip


def _notes(task: Task) -> list[_Note]:
    return [
        _Note(
            each.name,
            tuple(
                (
                    one_line(seen.finding.what),
                    recount(seen, each),
                    sentence(seen.finding.measured),
                    sentence(seen.finding.advice),
                )
                for seen in each.seen
            ),
        )
        for each in task.ranked
        if each.seen
    ]


def _clean(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(one_line(line) for line in lines if line)


def _figure(chart: Chart) -> _Figure:
    return _Figure(chart.name, chart.title, chart.caption, _markup(inline_svg(chart)))


def _markup(text: str) -> "Markup":
    """Text of our own that the template takes as it is."""
    from markupsafe import Markup  # noqa: PLC0415  comes with jinja2

    return Markup(text)


def _version() -> str:
    try:
        return metadata.version("ttt")
    except metadata.PackageNotFoundError:  # run from its source
        return "from source"
