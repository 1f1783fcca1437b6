"""The figures of a report: for its page as SVG that takes the page's colours, for papers as files.

Which figures there are and what they say beside the drawing; the drawing is in `drawing`, the only
module that knows matplotlib. May not compute anything: what is shown, a study says.
"""

import dataclasses
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ttt.errors import MissingExtra, one_line, writing
from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.format import duration, number
from ttt.report.analyze.study import Study, Task
from ttt.report.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK = "#1b1c1d"  # of text and axes; found again in an SVG, and nowhere else in it
_HOLLOW = " Hollow marks are results outside of these sweeps."


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure.

    Attributes:
        name: The stem of its file.
        task: Title of the task it is about.
        title: What it shows.
        caption: How to read it.
        draw: Makes it, text and axes in the given colour.
        curves: The label of each curve, in the order of their identifiers.
    """

    name: str
    task: str
    title: str
    caption: str
    draw: Callable[[str], "Figure"]
    curves: tuple[str, ...] = ()


def charts(study: Study) -> list[Chart]:
    """Every figure there are values for, the most important of each task first.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        import ttt.report.render.drawing  # noqa: F401, PLC0415  half a second, may be absent
    except ImportError as error:
        raise MissingExtra("matplotlib", "report", "a page or figure of a report") from error
    return list(_numbered([chart for task in study.tasks for chart in _of_task(task)]))


def _of_task(task: Task) -> Iterator[Chart]:
    from ttt.report.render import drawing  # noqa: PLC0415

    benchmark = re.sub("[^a-z0-9]+", "-", task.benchmark.lower()).strip("-")
    outside = len(task.experiments) > sum(len(sweep.points) for sweep in task.sweeps)
    if task.sweeps:
        yield Chart(
            f"time-to-train-{benchmark}",
            task.title,
            "Time-to-train",
            "Bars are the 95% interval, where three or more runs give one; one without a lower end"
            " reaches 0. Dashed is the ideal, half the time on twice as many."
            + (_HOLLOW if outside else ""),
            lambda ink: drawing.time_to_train(task, ink),
        )
        yield Chart(
            f"efficiency-{benchmark}",
            task.title,
            "Where the efficiency goes",
            "Solid is what is left of the ideal. The lost rest is shared out in proportion to the"
            " logarithms of the causes, which multiply: throughput for each worker, epochs to the"
            " target (statistical), and overhead. A cause that helps instead takes no share.",
            lambda ink: drawing.efficiency(task, ink),
        )
    if any(len(run.evaluations) > 1 for run in task.runs):
        yield Chart(
            f"quality-{benchmark}",
            task.title,
            "Quality over time",
            "A line for each run, coloured by experiment; dashed is the target.",
            lambda ink: drawing.quality(task, ink),
            tuple(_described(task, *each) for each in drawing.curves(task)),
        )


def _described(task: Task, of: Experiment, run: Run) -> str:
    """What a curve of quality is: the experiment, where there are several, the seed and the end."""
    last = run.evaluations[-1]
    parts = [
        of.name if len(task.experiments) > 1 else None,
        f"seed {run.seed}" if run.seed is not None else run.path.name,
        f"{run.metric or 'quality'} {number(last.quality, '.4f')} at"
        f" {duration(last.seconds, task.unit)}",
        run.status if run.status != "success" else None,
    ]
    return one_line(", ".join(filter(None, parts)))


def _numbered(made: list[Chart]) -> Iterator[Chart]:
    """The same benchmark may be there with several targets: each file needs its own name."""
    seen: dict[str, int] = {}
    for chart in made:
        count = seen[chart.name] = seen.get(chart.name, 0) + 1
        name = chart.name if count == 1 else f"{chart.name}-{count}"
        yield dataclasses.replace(chart, name=name)


def inline_svg(chart: Chart) -> str:
    """The figure to be put into a page: no background, text and axes in the colour around it.

    Identifiers begin with the figure's name, since those of several figures share one page; the
    page has the one rule of style that matplotlib gives every figure.
    """
    from ttt.report.render import drawing  # noqa: PLC0415

    text = _saved(chart, "svg", transparent=True).decode()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{chart.name}-', text)
    text = re.sub(r'href="#', f'href="#{chart.name}-', text)
    text = text.replace("url(#", f"url(#{chart.name}-")
    for place, title in enumerate(chart.curves):
        begin = f'<g id="{chart.name}-{drawing.CURVE}{place}">'
        label = f'{begin[:-1]} class="curve"><title>{html.escape(title)}</title>'
        text = text.replace(begin, label)
    # Without a size of its own it fills the width it gets; the view box keeps the proportions.
    opening, rest = text.split(">", 1)
    opening = re.sub(' (width|height)="[^"]*"', "", opening)
    return f'{opening} role="img" aria-label="{chart.title}">{rest}'


def write_figures(study: Study, folder: str | Path) -> list[Path]:
    """Write each figure as SVG and as PNG; the same study gives the same bytes.

    Raises:
        ConfigError: The folder cannot be written to.
        MissingExtra: matplotlib is not installed.
    """
    written = []
    with writing("--figures", folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        for chart in charts(study):
            for form in ("svg", "png"):
                path = Path(folder) / f"{chart.name}.{form}"
                path.write_bytes(_saved(chart, form))
                written.append(path)
    return written


def _saved(chart: Chart, form: str, *, transparent: bool = False) -> bytes:
    from ttt.report.render import drawing  # noqa: PLC0415

    buffer = BytesIO()
    drawing.save(lambda: chart.draw(_INK), buffer, form, salt=chart.name, transparent=transparent)
    return buffer.getvalue()
