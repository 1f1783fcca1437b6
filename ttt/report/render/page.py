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
from typing import TYPE_CHECKING, Any

from ttt.compliance import LABEL
from ttt.errors import ESCAPE, MissingExtra, counted, one_line, writing
from ttt.report.analyze.caveats import cautions, objections, why_failed
from ttt.report.analyze.experiment import Experiment, Observation
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
class _Table:
    """A table of the page; `name` is its anchor."""

    name: str
    title: str
    grid: Grid
    notes: tuple[str, ...] = ()


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
    with writing("--html", path):
        # A file name on Linux may be no text, and a page has to be.
        Path(path).write_text(text, encoding="utf-8", errors=ESCAPE)


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


def _section(place: int, task: Task, drawn: Sequence[Chart]) -> dict[str, Any]:
    """A task as the template shows it."""
    against = [*side_by_side(task), *objections(task.ranked)]
    sure = [*comparisons(task), *cautions(task.ranked, task.unit)]
    name = f"{place}-" + re.sub("[^a-z0-9]+", "-", task.title.lower()).strip("-")
    return {
        "name": name,
        "title": task.title,
        "answer": answer(task),
        "results": _Table(f"results-{name}", "Results", grids.overview(task), _clean(against)),
        "figures": [
            (chart, _markup(inline_svg(chart))) for chart in drawn if chart.task == task.title
        ],
        "scaling": [
            _Table(
                f"scaling-{name}-{number}",
                f"Scaling, {whose(sweep)}: {sweep.mode}",
                grids.scaling(sweep, task),
                _clean(held_back(sweep)),
            )
            for number, sweep in enumerate(task.sweeps, 1)
        ],
        "stability": _Table(
            f"stability-{name}", "How sure the scores are", grids.stability(task), _clean(sure)
        ),
        "seeds": _Table(f"seeds-{name}", "Every run", grids.seeds(task)),
        "notes": [
            (each.name, [_note(seen, each) for seen in each.seen])
            for each in task.ranked
            if each.seen
        ],
    }


def _note(seen: Observation, of: Experiment) -> tuple[str, str, str, str]:
    """What was found in the runs of an experiment, in how many of them, and what to try."""
    finding = seen.finding
    what, measured = one_line(finding.what), sentence(finding.measured)
    return what, recount(seen, of), measured, sentence(finding.advice)


def _clean(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(one_line(line) for line in lines if line)


def _markup(text: str) -> "Markup":
    """Text of our own that the template takes as it is."""
    from markupsafe import Markup  # noqa: PLC0415  comes with jinja2

    return Markup(text)


def _version() -> str:
    try:
        return metadata.version("time-to-train")
    except metadata.PackageNotFoundError:  # run from its source
        return "from source"
