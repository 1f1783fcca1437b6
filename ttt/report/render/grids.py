"""The tables of a report; the forms draw them. Pure; may not know any form."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ttt.errors import one_line
from ttt.report.analyze.caveats import verdict, why_failed
from ttt.report.analyze.format import (
    PLURAL,
    UNKNOWN,
    between,
    energy,
    in_unit,
    measured,
    significant,
    throughput,
    unit_of,
)
from ttt.report.analyze.hardware import Row
from ttt.report.analyze.progress import Measure, over_runs, progress, written
from ttt.report.analyze.scaling import Point, Sweep
from ttt.report.analyze.score import Group, agreed, spread
from ttt.report.analyze.size import counting, workers
from ttt.report.analyze.stability import confidence
from ttt.report.analyze.view import Result, Task, identity, ranked
from ttt.report.render.cells import (
    Cell,
    Grid,
    Head,
    grid,
    in_digits,
    in_figures,
    in_money,
    in_percent,
    in_words,
)

_BRIEF = {"accelerator": "accel.", "process": "procs", "node": "nodes"}
_ONE_BY_ONE = 10  # runs that show their progress one by one


def _all(group: Group, field: str) -> Any:
    """What all runs of a group say who say anything."""
    return agreed(getattr(run, field) for run in group.runs)


def _score(seconds: float | None, group: Group, unit: str) -> Cell:
    """A score with the digits that its interval justifies."""
    return Cell(measured(seconds, unit, confidence(group)), seconds)


def _interval(group: Group, unit: str) -> Cell:
    known = confidence(group)
    width = None if known is None else known[1] - known[0]
    return Cell(between(group.score.seconds, unit, known), width)


def _every(group: Group, unit: str) -> Cell:
    """How far apart evaluations are: no run is seen to end between two."""
    apart = group.resolution
    return Cell(significant(None if apart is None else in_unit(apart, unit)), apart)


def overview(task: Task) -> Grid:
    """A line for each experiment of a task, the fastest first."""
    results, unit, many = ranked(task), task.unit, len(task.results) > 1
    unclear = len({_place(each.group) for each in results}) < len(results)

    def models(each: Result) -> Cell:
        weak = each.group.weak
        return in_digits(None if weak is None else weak.models_per_minute)

    return grid(
        results,
        [
            (
                Head("experiment", right=False, page=not unclear),
                lambda each: in_words(each.name if many else None),
            ),
            (
                Head("submitter", right=False),
                lambda each: in_words(_all(each.group, "submitter")),
            ),
            (
                Head("system", right=False),
                lambda each: in_words(_all(each.group, "system") or each.name),
            ),
            (
                Head(f"score ({unit})"),
                lambda each: _score(each.group.score.seconds, each.group, unit),
            ),
            (Head("95% interval"), lambda each: _interval(each.group, unit)),
            (
                Head(f"scaled ({unit})"),
                lambda each: _score(each.group.scaled_seconds, each.group, unit),
            ),
            (Head("models/min"), models),
            (
                Head("accelerator", right=False, wide=True),
                lambda each: in_words(_all(each.group, "accelerator_name")),
            ),
            (Head("workers"), lambda each: in_figures(workers(each.group), ",d")),
            (Head("nodes", wide=True), lambda each: in_figures(_all(each.group, "nodes"), ",d")),
            (
                Head("batch", wide=True),
                lambda each: in_figures(_all(each.group, "global_batch"), ",d"),
            ),
            (
                Head(task.measure, wide=True),
                lambda each: _progress(_mean(each.group, task.measure), task.measure),
            ),
            (Head("converged"), lambda each: _converged(each.group)),
            (Head("valid", right=False), lambda each: in_words(verdict(each.group))),
        ],
    )


def scaling(sweep: Sweep, task: Task) -> Grid:
    """A line for each point of a sweep."""
    unit, measure = task.unit, task.measure
    per_second = throughput(sweep.points[0].group, 1.0)[1]

    def share(name: str) -> Callable[[Point], Cell]:
        return lambda point: in_percent(getattr(point.efficiency, name))

    return grid(
        sweep.points,
        [
            (Head(PLURAL[sweep.unit], brief=_BRIEF[sweep.unit]), _workers),
            (Head("batch"), lambda point: in_figures(point.global_batch, ",d")),
            (
                Head(f"time-to-train ({unit})"),
                lambda point: _score(point.seconds, point.group, unit),
            ),
            (Head("95% interval", wide=True), lambda point: _interval(point.group, unit)),
            (Head("speed-up"), lambda point: in_digits(point.speed_up)),
            (Head("efficiency", brief="eff."), share("time_to_train")),
            (Head("=\N{NO-BREAK SPACE}throughput", brief="= through- put"), share("throughput")),
            (Head("x\N{NO-BREAK SPACE}statistical", brief="x statis- tical"), share("statistical")),
            (Head("x\N{NO-BREAK SPACE}overhead", brief="x over- head"), share("overhead")),
            (
                Head(f"steady {per_second}/s", wide=True),
                lambda point: in_digits(throughput(point.group, point.samples_per_s)[0]),
            ),
            (Head("step (ms)", wide=True), lambda point: in_digits(point.step_ms)),
            (
                Head(measure, wide=True),
                lambda point: _progress(_of_score(point.group, measure), measure),
            ),
            (
                Head("scaling", right=False, wide=True),
                lambda point: in_words("base" if point is sweep.points[0] else point.mode),
            ),
            (
                Head(f"evaluated every ({unit})", wide=True),
                lambda point: _every(point.group, unit),
            ),
        ],
    )


def hardware(rows: Sequence[Row], names: Mapping[Path, str]) -> Grid:
    """The hardware table.

    Args:
        rows: Its lines.
        names: What each experiment that is shown is called.
    """
    rows = [row for row in rows if identity(row.group) in names]
    unit, many = unit_of([row.group for row in rows]), len(rows) > 1
    rates = {id(row): throughput(row.group, row.samples_per_s) for row in rows}
    kinds = {of for value, of in rates.values() if value is not None}

    def per_second(row: Row) -> Cell:
        value, of = rates[id(row)]
        text = significant(value)
        return Cell(f"{text} {of}/s" if len(kinds) > 1 and value is not None else text, value)

    return grid(
        rows,
        [
            (Head("benchmark", right=False), lambda row: in_words(_all(row.group, "benchmark"))),
            (
                Head("experiment", right=False),
                lambda row: _named(names[identity(row.group)] if many else ""),
            ),
            (Head("submitter", right=False, wide=True), lambda row: in_words(row.submitter)),
            (Head("system", right=False), lambda row: in_words(row.system)),
            (Head("nodes", wide=True), lambda row: in_figures(row.nodes, ",d")),
            (Head("workers"), lambda row: in_figures(workers(row.group), ",d")),
            (Head("accelerator", right=False, wide=True), lambda row: in_words(row.accelerator)),
            (Head("processor", right=False, wide=True), lambda row: in_words(row.processor)),
            (Head("memory", wide=True), lambda row: in_words(row.memory)),
            (
                Head(f"time-to-train ({unit})"),
                lambda row: _score(row.seconds, row.group, unit),
            ),
            (
                Head("throughput" if len(kinds) > 1 else f"{next(iter(kinds), 'samples')}/s"),
                per_second,
            ),
            (
                Head("accelerator-hours", brief="accel.-h"),
                lambda row: in_digits(row.accelerator_hours),
            ),
            (
                Head("energy"),
                lambda row: Cell(energy(row.group.energy_j), row.group.energy_j),
            ),
            (Head("samples/J"), lambda row: in_digits(row.samples_per_j)),
            (Head("cost of a run", brief="cost"), lambda row: in_money(row.cost)),
            (
                Head("features", right=False, page=True),
                lambda row: in_words(", ".join(row.features)),
            ),
        ],
    )


def _named(name: str) -> Cell:
    return Cell(name, name or None)


def seeds(task: Task) -> Grid:
    """A line for each run, experiment by experiment, the fastest first."""
    measure, unit = task.measure, task.unit
    metric = agreed(run.metric for each in task.results for run in each.group.runs)
    runs = [
        (each, run, time)
        for each in ranked(task)
        for run, time in zip(each.group.runs, each.group.times, strict=True)
    ]
    many = len(task.results) > 1
    return grid(
        runs,
        [
            (Head("experiment", right=False), lambda at: _named(at[0].name if many else "")),
            (Head("seed"), lambda at: in_figures(at[1].seed, "d")),
            (Head("status", right=False), lambda at: in_words(at[1].status)),
            (
                Head(f"time-to-train ({unit})"),
                lambda at: Cell(measured(at[2], unit, digits=4), at[2]),
            ),
            (
                Head(one_line(metric or "quality")),
                lambda at: in_figures(at[1].quality, ".4f"),
            ),
            (Head(measure), lambda at: _progress(progress(at[1], measure), measure)),
            (Head("replaced samples"), lambda at: in_figures(at[1].skipped_samples or None, ",d")),
            (
                Head("why it does not count", right=False),
                lambda at: in_words(why_failed(at[1]) if at[2] is None else None),
            ),
            (Head("where", right=False), lambda at: in_words("/".join(at[1].path.parts[-2:]))),
        ],
    )


def stability(task: Task) -> Grid:
    """How sure each score is, the fastest first: how finely and how equally runs were seen to end.

    The interval of a score stands beside it.
    """

    def taken(each: Result) -> Cell:
        values = each.stability.progress
        if not values:
            return Cell(UNKNOWN, None)
        return Cell(_listed(values, task.measure), values[-1] - values[0])

    return grid(
        ranked(task),
        [
            (Head("experiment", right=False), lambda each: in_words(each.name)),
            (Head("runs"), lambda each: in_figures(len(each.group.runs), "d")),
            (
                Head(f"evaluated every ({task.unit})"),
                lambda each: _every(each.group, task.unit),
            ),
            (Head(f"{task.measure} to the target", right=False), taken),
        ],
    )


def _listed(values: Sequence[float], measure: Measure) -> str:
    """Each value, or where they are many, how many runs had it."""
    texts = [written(value, measure) for value in values]
    if len(texts) <= _ONE_BY_ONE:
        return (", " if measure == "samples" else " ").join(texts)
    return ", ".join(f"{text} ({count})" for text, count in Counter(texts).items())


def _mean(group: Group, measure: Measure) -> float | None:
    known = over_runs(group, measure)
    return known.mean if known else None


def _of_score(group: Group, measure: Measure) -> float | None:
    """Mean progress of the runs whose mean the score is."""
    known = (progress(run, measure) for run in counting(group))
    mean = spread([value for value in known if value is not None])
    return mean.mean if mean else None


def _progress(value: float | None, measure: Measure) -> Cell:
    return Cell(written(value, measure), value)


def _converged(group: Group) -> Cell:
    count = sum(time is not None for time in group.times)
    return Cell(f"{count} of {len(group.runs)}", count)


def _place(group: Group) -> tuple[object, ...]:
    """By what a reader tells experiments apart in a table of systems."""
    return _all(group, "submitter"), _all(group, "system"), workers(group)


def _workers(point: Point) -> Cell:
    return in_figures(point.workers, ",d")
