"""The tables of a report as text and what to sort it by, for whoever draws them. Pure.

A column in which nothing is known is left out. May not know any form.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ttt.report.analysis.hardware import Profile, Row
from ttt.report.analysis.scaling import Efficiency, Point, Sweep
from ttt.report.analysis.score import Group, agreed
from ttt.report.analysis.size import workers
from ttt.report.analysis.words import (
    UNKNOWN,
    in_unit,
    measured,
    names,
    number,
    percent,
    printable,
    unit_for,
)
from ttt.report.forms.doubts import verdict
from ttt.report.forms.view import PLURAL, Result

T = TypeVar("T")
Key = float | str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """What is shown and what it sorts by; `key` is None for unknown."""

    text: str
    key: Key


@dataclass(frozen=True, slots=True)
class Head:
    """A column.

    Attributes:
        text: Its title.
        right: Whether it holds numbers, which line up at the right.
        wide: Whether a narrow terminal can do without it.
        brief: A shorter title for that; None if it is short.
        page: Whether it is too long for any terminal.
    """

    text: str
    right: bool = True
    wide: bool = False
    brief: str | None = None
    page: bool = False


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; every row has a cell for each head."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]


_BRIEF = {"accelerator": "accel.", "process": "procs"}
_Column = tuple[Head, Callable[[T], Cell]]


def _grid(items: Iterable[T], columns: Sequence[_Column[T]]) -> Grid:
    rows = [[cell(item) for _, cell in columns] for item in items]
    known = [any(row[place].key is not None for row in rows) for place in range(len(columns))]
    return Grid(
        tuple(head for (head, _), keep in zip(columns, known, strict=True) if keep),
        tuple(tuple(cell for cell, keep in zip(row, known, strict=True) if keep) for row in rows),
    )


def _text(value: str | None) -> Cell:
    text = None if value is None else printable(value)
    return Cell(text or UNKNOWN, text or None)


def _number(value: float | None, form: str = ",.4g") -> Cell:
    return Cell(number(value, form), value)


def _cost(value: float | None) -> Cell:
    return _number(value, ",.2f" if value is None or value >= 1 else ".2g")


def _percent(value: float | None) -> Cell:
    return Cell(percent(value), value)


def _all(group: Group, field: str) -> Any:
    """What all runs of a group say who say anything."""
    return agreed(getattr(run, field) for run in group.runs)


def overview(results: Sequence[Result]) -> Grid:
    """A line for each experiment of a task, the fastest first."""
    results = sorted(results, key=lambda each: each.group.score.seconds or math.inf)
    unit = unit_for([each.group.score.seconds for each in results])
    unclear = len({_place(each.group) for each in results}) < len(results)

    def score(each: Result) -> Cell:
        group = each.group
        return Cell(measured(group.score.seconds, group.resolution, unit), group.score.seconds)

    def scaled(each: Result) -> Cell:
        return Cell(measured(each.group.scaled_seconds, None, unit), each.group.scaled_seconds)

    return _grid(
        results,
        [
            (Head("experiment", right=False), lambda each: _text(each.name if unclear else None)),
            (
                Head("submitter", right=False),
                lambda each: _text(_all(each.group, "submitter")),
            ),
            (
                Head("system", right=False),
                lambda each: _text(_all(each.group, "system") or each.name),
            ),
            (Head(f"score ({unit})"), score),
            (Head(f"scaled ({unit})"), scaled),
            (
                Head("accelerator", right=False, wide=True),
                lambda each: _text(_all(each.group, "accelerator_name")),
            ),
            (Head("workers"), lambda each: _number(workers(each.group), ",d")),
            (Head("nodes", wide=True), lambda each: _number(_all(each.group, "nodes"), ",d")),
            (
                Head("batch", wide=True),
                lambda each: _number(_all(each.group, "global_batch"), ",d"),
            ),
            (Head("epochs", wide=True), lambda each: _number(_epochs(each.group))),
            (Head("efficiency", wide=True), lambda each: _percent(_efficiency(each))),
            (Head("converged"), lambda each: _converged(each.group)),
            (Head("valid", right=False), lambda each: _text(verdict(each.group))),
        ],
    )


def scaling(sweep: Sweep) -> Grid:
    """A line for each point of a sweep."""
    unit = unit_for([each.seconds for each in sweep.points])

    def share(name: str) -> Callable[[Point], Cell]:
        return lambda point: _percent(getattr(point.efficiency, name))

    return _grid(
        sweep.points,
        [
            (Head(PLURAL[sweep.unit], brief=_BRIEF[sweep.unit]), _workers),
            (Head("batch"), lambda point: _number(point.global_batch, ",d")),
            (Head(f"time-to-train ({unit})"), lambda point: _time(point, unit)),
            (Head("speed-up"), lambda point: _number(point.speed_up, ",.2f")),
            (Head("efficiency", brief="eff."), share("time_to_train")),
            (Head("=\N{NO-BREAK SPACE}throughput", brief="= through- put"), share("throughput")),
            (Head("x\N{NO-BREAK SPACE}statistical", brief="x statis- tical"), share("statistical")),
            (Head("x\N{NO-BREAK SPACE}overhead", brief="x over- head"), share("overhead")),
            (
                Head("steady samples/s", wide=True),
                lambda point: _number(point.samples_per_s, ",.0f"),
            ),
            (Head("epochs", wide=True), lambda point: _number(point.epochs)),
            (
                Head("scaling", right=False, wide=True),
                lambda point: _text("base" if point is sweep.points[0] else point.mode),
            ),
        ],
    )


def hardware(rows: Sequence[Row]) -> Grid:
    """The hardware table."""
    unit = unit_for([each.seconds for each in rows])
    places = [(_all(row.group, "benchmark"), _place(row.group)) for row in rows]
    unclear = len(set(places)) < len(places)
    named = dict(zip(map(id, rows), names([row.group for row in rows]), strict=True))
    return _grid(
        rows,
        [
            (Head("benchmark", right=False), lambda row: _text(_all(row.group, "benchmark"))),
            (
                Head("experiment", right=False),
                lambda row: _text(named[id(row)] if unclear else None),
            ),
            (Head("submitter", right=False, wide=True), lambda row: _text(row.submitter)),
            (Head("system", right=False), lambda row: _text(row.system)),
            (Head("nodes", wide=True), lambda row: _number(row.nodes, ",d")),
            (Head("workers"), lambda row: _number(workers(row.group), ",d")),
            (Head("accelerator", right=False, wide=True), lambda row: _text(row.accelerator)),
            (Head("processor", right=False, wide=True), lambda row: _text(row.processor)),
            (Head("memory", wide=True), lambda row: _text(row.memory)),
            (
                Head(f"time-to-train ({unit})"),
                lambda row: Cell(measured(row.seconds, row.group.resolution, unit), row.seconds),
            ),
            (Head("samples/s"), lambda row: _number(row.samples_per_s, ",.0f")),
            (
                Head("accelerator-hours", brief="accel.-h"),
                lambda row: _number(row.accelerator_hours, ",.3g"),
            ),
            (Head("samples/J"), lambda row: _number(row.samples_per_j, ",.3g")),
            (
                Head("cost of a run", brief="cost"),
                lambda row: _number(row.cost, ",.2f" if (row.cost or 0) >= 1 else ".2g"),
            ),
            (
                Head("features", right=False, page=True),
                lambda row: _text(", ".join(row.features)),
            ),
        ],
    )


def stability(results: Sequence[Result]) -> Grid:
    """How sure each score is, where more than one run tells; the fastest first."""
    results = sorted(results, key=lambda each: each.group.score.seconds or math.inf)
    unit = unit_for([each.group.score.seconds for each in results])

    def interval(each: Result) -> Cell:
        if each.stability.interval is None:
            return Cell(UNKNOWN, None)
        low, high = (in_unit(value, unit) for value in each.stability.interval)
        return Cell(f"{low:.4g} to {high:.4g}", high - low)

    def epochs(each: Result) -> Cell:
        values = each.stability.epochs
        if not values:
            return Cell(UNKNOWN, None)
        return Cell(" ".join(f"{value:.4g}" for value in values), values[-1] - values[0])

    return _grid(
        results,
        [
            (Head("experiment", right=False), lambda each: _text(each.name)),
            (Head("runs"), lambda each: _number(len(each.group.runs), "d")),
            (Head(f"95% interval ({unit})"), interval),
            (Head("epochs to the target", right=False), epochs),
        ],
    )


def profile(profiles: Sequence[Profile]) -> Grid:
    """The score over all benchmarks, and on each the time over the best time."""
    benchmarks = dict.fromkeys(name for each in profiles for name in each.ratios)

    def ratio(name: str) -> Callable[[Profile], Cell]:
        return lambda each: _number(each.ratios.get(name), ".2f")

    return _grid(
        profiles,
        [
            (Head("system", right=False), lambda each: _text(each.system)),
            (Head("score"), lambda each: _number(each.score, ".3f")),
            *((Head(printable(name), wide=True), ratio(name)) for name in benchmarks),
        ],
    )


def _epochs(group: Group) -> float | None:
    return group.epochs.mean if group.epochs else None


def _efficiency(each: Result) -> float | None:
    return (each.point.efficiency if each.point else Efficiency()).time_to_train


def _converged(group: Group) -> Cell:
    count = sum(time is not None for time in group.times)
    return Cell(f"{count} of {len(group.runs)}", count)


def _place(group: Group) -> tuple[object, ...]:
    """By what a reader tells experiments apart in a table of systems."""
    return _all(group, "submitter"), _all(group, "system"), workers(group)


def _workers(point: Point) -> Cell:
    return _number(point.workers, ",d")


def _time(point: Point, unit: str) -> Cell:
    return Cell(measured(point.seconds, point.resolution, unit), point.seconds)
