"""Draws the figures of a report; the only module that knows matplotlib.

Figures are as wide as a column of a paper, or a phone, with text of 9 points. Colour-blind readers
can tell the colours apart: they are those of Okabe and Ito ("Color Universal Design", 2008), some
lighter or darker to be visible on white and on dark. Where there are more lines than colours, they
are those of viridis, in order of size.
"""

import math
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

import matplotlib as mpl
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ttt.errors import one_line
from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.format import PLURAL, in_unit, percent
from ttt.report.analyze.scaling import Sweep
from ttt.report.analyze.score import agreed
from ttt.report.analyze.sentences import whose
from ttt.report.analyze.study import Task
from ttt.report.run import Run

CURVE = "curve-"  # begins the identifier of what a pointer finds of a curve
_WIDTH = 4.2  # inches
_COLOURS = ("#1f82c4", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f6fc9")
_MARKERS = "os^Dv<>"
_MUTED = "#8b8f94"
_CAUSES = {"throughput": "#d55e00", "statistical": "#e0a100", "overhead": "#cc79a7"}
_LEFT, _LOST = "#1f82c4", "#c9ccd0"
_MOST_NAMES = 12  # in a legend
_WIDE, _BESIDE = 46, 30  # characters of a line of it, and of a line beside a mark

_STYLE = {
    "font.size": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.4,
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a name from a log may hold a dollar sign
    "svg.fonttype": "none",  # text stays text: selectable, and in the font of the page
    "savefig.dpi": 200,
}


def save(
    draw: Callable[[], Figure], file: IO[bytes], form: str, *, salt: str, transparent: bool
) -> None:
    """Draw and write a figure, the same bytes for the same figure."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of a name in a log
        plain: dict[str, Any] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        metadata = plain if form == "svg" else {"Software": None}
        draw().savefig(file, format=form, metadata=metadata, transparent=transparent)


def time_to_train(task: Task, ink: str) -> Figure:
    """Time-to-train against the size, both logarithmic, a line for each sweep."""
    figure, axes = _empty(ink, 3.4)
    in_sweep = {each.experiment for sweep in task.sweeps for each in sweep.points}
    others = [
        (each.workers, each.score.seconds, each.name)
        for each in task.experiments
        if each not in in_sweep and each.workers is not None and each.score.seconds is not None
    ]
    counts = [each.workers for sweep in task.sweeps for each in sweep.points]
    unit = task.unit
    axes.set(xscale="log", yscale="log")
    for (colour, marker), sweep in zip(_styles(len(task.sweeps)), task.sweeps, strict=True):
        _sweep(axes, sweep, unit, colour, marker)
    for count, time, name in others:
        place = count, in_unit(time, unit)
        axes.plot(*place, "o", mfc="none", mec=ink, ms=8, zorder=4)
        beside = textwrap.fill(one_line(name), _BESIDE)
        axes.annotate(beside, place, (7, 3), textcoords="offset points", fontsize=7, color=ink)
    _log_ticks(axes.xaxis, _with_room(counts))
    _log_ticks(axes.yaxis, _round_numbers(axes.get_ylim()))
    axes.set_xlabel(PLURAL[task.sweeps[0].unit])
    axes.set_ylabel(f"time-to-train in {unit}")
    axes.grid(color=_MUTED, alpha=0.25, lw=0.6)
    _legend(axes, [_name(each, task.sweeps) for each in task.sweeps], ink)
    return figure


def _sweep(axes: Axes, sweep: Sweep, unit: str, colour: str, marker: str) -> None:
    x = [each.workers for each in sweep.points]
    y = [in_unit(each.time_to_train_s, unit) for each in sweep.points]
    ends = [each.experiment.interval or (each.time_to_train_s,) * 2 for each in sweep.points]
    above = [max(0.0, in_unit(high, unit) - time) for (_, high), time in zip(ends, y, strict=True)]
    # One that reaches zero leaves the logarithmic axis below: matplotlib clips it and its cap.
    below = [max(0.0, time - in_unit(low, unit)) for (low, _), time in zip(ends, y, strict=True)]
    axes.plot(x, [y[0] * x[0] / each for each in x], ls=(0, (4, 3)), lw=1, color=colour, alpha=0.7)
    axes.errorbar(
        x, y, (below, above), color=colour, marker=marker, ms=5, elinewidth=1, capsize=2.5
    )


def efficiency(task: Task, ink: str) -> Figure:
    """What is left of the ideal at each point, and which causes took the rest."""
    lines = [(sweep, point) for sweep in task.sweeps for point in sweep.points]
    figure, axes = _empty(ink, 1.15 + 0.27 * len(lines) + 0.12 * len(task.sweeps))
    place, places, labels = 0.0, [], []
    for sweep in task.sweeps:
        for point in sweep.points:
            start = min(1.0, point.efficiency.time_to_train or 0.0)
            axes.barh(place, start, 0.72, color=_LEFT)
            axes.text(
                *(0.015, place, percent(point.efficiency.time_to_train)),
                va="center", color="white" if start > 0.12 else ink,
            )  # fmt: skip
            for name, share in point.efficiency.losses.items():
                axes.barh(place, share, 0.72, start, color=_CAUSES.get(name, _LOST))
                start += share
            places.append(place)
            labels.append(f"{point.workers:,}")
            place += 1
        place += 0.5
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(ticker.PercentFormatter(1, 0))
    axes.set_xlabel("of the ideal speed-up")
    axes.set_ylabel(PLURAL[task.sweeps[0].unit])
    axes.tick_params(axis="y", length=0)
    _between(axes, task.sweeps, places, ink)
    shown = {name for _, point in lines for name in point.efficiency.losses}
    keys = {"efficiency": _LEFT} | {
        name: _CAUSES.get(name, _LOST) for name in (*_CAUSES, "unknown")
    }
    patches = {
        name: Line2D([], [], marker="s", ms=7, ls="none", color=colour)
        for name, colour in keys.items()
        if name == "efficiency" or name in shown
    }
    figure.legend(
        list(patches.values()), list(patches), loc="outside upper center", ncols=4,
        labelcolor=ink, handletextpad=0.1, columnspacing=0.9,
    )  # fmt: skip
    return figure


def _between(axes: Axes, sweeps: Sequence[Sweep], places: Sequence[float], ink: str) -> None:
    """Say above the bars of each sweep whose they are, where there is more than one."""
    first = 0
    for sweep in sweeps if len(sweeps) > 1 else ():
        axes.text(
            0,
            places[first] - 0.45,
            _short(_name(sweep, sweeps)),
            color=ink,
            va="bottom",
            style="italic",
        )
        first += len(sweep.points)


def quality(task: Task, ink: str) -> Figure:
    """The metric over time of every run."""
    figure, axes = _empty(ink, 3.4)
    ordered = _evaluated(task)
    ends = [run.evaluations[-1].seconds for each in ordered for run in each.runs if run.evaluations]
    unit = task.unit
    styles = list(_styles(len(ordered)))
    colours = {each.name: colour for (colour, _), each in zip(styles, ordered, strict=True)}
    for place, (each, run) in enumerate(curves(task)):
        x = [in_unit(one.seconds, unit) for one in run.evaluations]
        y = [one.quality for one in run.evaluations]
        axes.plot(x, y, color=colours[each.name], lw=1, alpha=0.85, marker=".", ms=3)
        # Unseen, but broad enough for a pointer; the page gives it a title.
        axes.plot(x, y, color=colours[each.name], lw=7, alpha=0, gid=f"{CURVE}{place}")
    positive = [each for each in ends if each > 0]
    if positive and max(positive) > 10 * min(positive):  # else the fast runs are a stroke
        axes.set_xscale("log")
        _log_ticks(axes.xaxis, _round_numbers(axes.get_xlim()))
    else:
        axes.set_xlim(left=0)
    target = agreed(run.target for each in ordered for run in each.runs)
    if target is not None:
        axes.axhline(target, color=ink, ls=(0, (4, 3)), lw=1)
    metric = agreed(run.metric for each in ordered for run in each.runs)
    axes.set_xlabel(f"time in {unit}")
    falls = agreed(run.higher_is_better for each in ordered for run in each.runs) is False
    axes.set_ylabel(one_line(metric or "quality") + (" (lower is better)" if falls else ""))
    axes.grid(color=_MUTED, alpha=0.25, lw=0.6)
    _legend(axes, [each.name for each in ordered], ink, markers=False)
    return figure


def curves(task: Task) -> list[tuple[Experiment, Run]]:
    """The runs that `quality` draws, in its order."""
    return [(each, run) for each in _evaluated(task) for run in each.runs if run.evaluations]


def _evaluated(task: Task) -> list[Experiment]:
    found = [each for each in task.experiments if any(run.evaluations for run in each.runs)]
    return sorted(found, key=lambda each: (each.workers or 0, each.name))


def _empty(ink: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_subplot()
    axes.tick_params(which="both", color=ink, labelcolor=ink, width=0.8)
    axes.xaxis.label.set_color(ink)
    axes.yaxis.label.set_color(ink)
    axes.spines[:].set_color(ink)
    axes.set_axisbelow(True)
    return figure, axes


def _styles(count: int) -> Iterator[tuple[str, str]]:
    """A colour and a marker for each line."""
    many = count > len(_COLOURS)
    for place in range(count):
        shade = mpl.colormaps["viridis"](0.9 * place / (count - 1)) if many else None
        colour = mpl.colors.to_hex(shade) if shade else _COLOURS[place]
        yield colour, _MARKERS[place % len(_MARKERS)]


def _legend(axes: Axes, names: Sequence[str], ink: str, *, markers: bool = True) -> None:
    """Below the figure, in its width; with too many lines only of the ends of the order."""
    lines = len(names)
    if lines < 2:
        return
    handles = [
        Line2D([], [], color=colour, marker=marker if markers else "", ms=5)
        for colour, marker in _styles(lines)
    ]
    shown = list(range(lines)) if lines <= _MOST_NAMES else [0, lines // 2, lines - 1]
    entries = [textwrap.fill(names[each], _WIDE) for each in shown]
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.legend(
        [handles[each] for each in shown],
        entries,
        loc="outside lower left", labelcolor=ink, handlelength=1.6, borderaxespad=0.2,
    )  # fmt: skip
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.17 * sum(1 + each.count("\n") for each in entries))


def _short(name: str, most: int = _WIDE - 2) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _name(sweep: Sweep, sweeps: Sequence[Sweep]) -> str:
    name = whose(sweep)
    same = [each for each in sweeps if whose(each) == whose(sweep)]
    return name if len(same) == 1 else f"{name} ({same.index(sweep) + 1})"


def _log_ticks(axis: Any, ticks: Sequence[float]) -> None:
    """Plain numbers on a logarithmic axis."""
    axis.set_major_locator(ticker.FixedLocator(ticks))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))


def _with_room(values: Sequence[float]) -> list[float]:
    """The largest, the smallest and what has room between: a label is a sixth of the axis."""
    low, high = min(values), max(values)
    room = max(1.1, (high / low) ** (1 / 6))
    ticks = [high]
    for value in (low, *sorted(values)):
        if all(max(value / tick, tick / value) >= room for tick in ticks):
            ticks.append(value)
    return ticks


def _round_numbers(values: Sequence[float]) -> list[float]:
    """Three or more round numbers around the values."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [digit * 10.0**power for power in powers for digit in digits]
        if len([each for each in ticks if low <= each <= high]) >= 3:
            return ticks
    return [float(each) for each in ticker.MaxNLocator(4).tick_values(low, high) if each > 0]
