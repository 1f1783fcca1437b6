"""The tables of a report; the forms draw them. Pure; may not know any form."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from ttt.errors import one_line
from ttt.report.analyze.caveats import why_failed
from ttt.report.analyze.experiment import Experiment, Point
from ttt.report.analyze.format import (
    PLURAL,
    UNKNOWN,
    between,
    energy,
    in_unit,
    measured,
    significant,
)
from ttt.report.analyze.progress import Measure, progress, unit_of, written
from ttt.report.analyze.rates import throughput
from ttt.report.analyze.scaling import Sweep
from ttt.report.analyze.score import agreed, average
from ttt.report.analyze.study import Study, Task
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
from ttt.report.run import Run

_BRIEF = {"accelerator": "accel.", "process": "procs", "node": "nodes"}
_ONE_BY_ONE = 10  # runs that show their progress one by one


def _text(title: str, *, wide: bool = False, page: bool = False) -> Head:
    """The head of a column of words."""
    return Head(title, right=False, wide=wide, page=page)


def _score(seconds: float | None, of: Experiment, unit: str) -> Cell:
    """A score with the digits that its interval justifies."""
    return Cell(measured(seconds, unit, of.interval), seconds)


def _interval(of: Experiment, unit: str) -> Cell:
    width = None if of.interval is None else of.interval[1] - of.interval[0]
    return Cell(between(of.score.seconds, unit, of.interval), width)


def _every(of: Experiment, unit: str) -> Cell:
    """How far apart evaluations are: no run is seen to end between two."""
    apart = of.resolution
    return Cell(significant(None if apart is None else in_unit(apart, unit)), apart)


def overview(task: Task) -> Grid:
    """A line for each experiment of a task, the fastest first."""
    unit, measure, many = task.unit, task.measure, len(task.experiments) > 1
    # By what a reader tells experiments apart in a table of systems.
    places = {(each.submitter, each.system, each.workers) for each in task.experiments}
    unclear = len(places) < len(task.experiments)

    def models(of: Experiment) -> Cell:
        return in_digits(None if of.weak is None else of.weak.models_per_minute)

    return grid(
        task.ranked,
        [
            (
                _text("experiment", page=not unclear),
                lambda each: in_words(each.name if many else None),
            ),
            (_text("submitter"), lambda each: in_words(each.submitter)),
            (_text("system"), lambda each: in_words(each.system or each.name)),
            (Head(f"score ({unit})"), lambda each: _score(each.score.seconds, each, unit)),
            (Head("95% interval"), lambda each: _interval(each, unit)),
            (Head(f"scaled ({unit})"), lambda each: _score(each.scaled_seconds, each, unit)),
            (Head("models/min"), models),
            (_text("accelerator", wide=True), lambda each: in_words(each.accelerator_name)),
            (Head("workers"), lambda each: in_figures(each.workers, ",d")),
            (Head("nodes", wide=True), lambda each: in_figures(each.nodes, ",d")),
            (Head("batch", wide=True), lambda each: in_figures(each.global_batch, ",d")),
            (Head(measure, wide=True), lambda each: _mean(each.converged, measure)),
            (Head("converged"), _converged),
            (_text("valid"), lambda each: in_words(each.verdict)),
        ],
    )


def scaling(sweep: Sweep, task: Task) -> Grid:
    """A line for each point of a sweep."""
    unit, measure = task.unit, task.measure
    per_second = throughput(sweep.points[0].experiment, 1.0)[1]

    def share(name: str) -> Callable[[Point], Cell]:
        return lambda at: in_percent(getattr(at.efficiency, name))

    def rate(at: Point) -> Cell:
        return in_digits(throughput(at.experiment, at.samples_per_s)[0])

    return grid(
        sweep.points,
        [
            (
                Head(PLURAL[sweep.unit], brief=_BRIEF[sweep.unit]),
                lambda at: in_figures(at.workers, ",d"),
            ),
            (Head("batch"), lambda at: in_figures(at.global_batch, ",d")),
            (
                Head(f"time-to-train ({unit})"),
                lambda at: _score(at.time_to_train_s, at.experiment, unit),
            ),
            (Head("95% interval", wide=True), lambda at: _interval(at.experiment, unit)),
            (Head("speed-up"), lambda at: in_digits(at.speed_up)),
            (Head("efficiency", brief="eff."), share("time_to_train")),
            (Head("=\N{NO-BREAK SPACE}throughput", brief="= through- put"), share("throughput")),
            (Head("x\N{NO-BREAK SPACE}statistical", brief="x statis- tical"), share("statistical")),
            (Head("x\N{NO-BREAK SPACE}overhead", brief="x over- head"), share("overhead")),
            (Head(f"steady {per_second}/s", wide=True), rate),
            (Head("step (ms)", wide=True), lambda at: in_digits(at.step_ms)),
            (Head(measure, wide=True), lambda at: _mean(at.experiment.counting, measure)),
            (
                _text("scaling", wide=True),
                lambda at: in_words("base" if at is sweep.points[0] else at.mode),
            ),
            (
                Head(f"evaluated every ({unit})", wide=True),
                lambda at: _every(at.experiment, unit),
            ),
        ],
    )


def hardware(study: Study, name: Callable[[Experiment], str]) -> Grid:
    """The hardware table.

    Args:
        study: All experiments.
        name: What each is called, where there are several.
    """
    unit, many = unit_of(study.hardware), len(study.hardware) > 1
    kinds = {
        throughput(each, 1.0)[1] for each in study.hardware if each.row.samples_per_s is not None
    }

    def per_second(each: Experiment) -> Cell:
        value, of = throughput(each, each.row.samples_per_s)
        text = significant(value)
        return Cell(f"{text} {of}/s" if len(kinds) > 1 and value is not None else text, value)

    return grid(
        study.hardware,
        [
            (_text("benchmark"), lambda each: in_words(each.benchmark)),
            (_text("experiment"), lambda each: _named(name(each) if many else "")),
            (_text("submitter", wide=True), lambda each: in_words(each.submitter)),
            (_text("system"), lambda each: in_words(each.row.system)),
            (Head("nodes", wide=True), lambda each: in_figures(each.nodes, ",d")),
            (Head("workers"), lambda each: in_figures(each.workers, ",d")),
            (_text("accelerator", wide=True), lambda each: in_words(each.accelerator_name)),
            (_text("processor", wide=True), lambda each: in_words(each.row.processor)),
            (Head("memory", wide=True), lambda each: in_words(each.row.memory)),
            (Head(f"time-to-train ({unit})"), lambda each: _score(each.score.seconds, each, unit)),
            (
                Head("throughput" if len(kinds) > 1 else f"{next(iter(kinds), 'samples')}/s"),
                per_second,
            ),
            (
                Head("accelerator-hours", brief="accel.-h"),
                lambda each: in_digits(each.row.accelerator_hours),
            ),
            (Head("model TFLOP/s of each", brief="TFLOP/s"), _tflops),
            (Head("utilization", brief="util."), lambda each: in_percent(each.row.used.share)),
            (Head("energy"), lambda each: Cell(energy(each.energy_j), each.energy_j)),
            (Head("samples/J"), lambda each: in_digits(each.row.samples_per_j)),
            (Head("cost of a run", brief="cost"), lambda each: in_money(each.row.cost)),
            (
                _text("features", page=True),
                lambda each: in_words(", ".join(each.row.features)),
            ),
        ],
    )


def _tflops(of: Experiment) -> Cell:
    rate = of.row.used.flop_per_s
    return in_digits(None if rate is None else rate / 1e12)


def _named(name: str) -> Cell:
    return Cell(name, name or None)


def seeds(task: Task) -> Grid:
    """A line for each run, experiment by experiment, the fastest first."""
    measure, unit = task.measure, task.unit
    metric = agreed(run.metric for run in task.runs)
    many = len(task.experiments) > 1
    runs = [
        (each, run, time)
        for each in task.ranked
        for run, time in zip(each.runs, each.times, strict=True)
    ]
    return grid(
        runs,
        [
            (_text("experiment"), lambda at: _named(at[0].name if many else "")),
            (Head("seed"), lambda at: in_figures(at[1].seed, "d")),
            (_text("status"), lambda at: in_words(at[1].status)),
            (
                Head(f"time-to-train ({unit})"),
                lambda at: Cell(measured(at[2], unit, digits=4), at[2]),
            ),
            (Head(one_line(metric or "quality")), lambda at: in_figures(at[1].quality, ".4f")),
            (Head(measure), lambda at: _progress(progress(at[1], measure), measure)),
            (Head("replaced samples"), lambda at: in_figures(at[1].skipped_samples or None, ",d")),
            (
                _text("why it does not count"),
                lambda at: in_words(why_failed(at[1]) if at[2] is None else None),
            ),
            (_text("where"), lambda at: in_words("/".join(at[1].path.parts[-2:]))),
        ],
    )


def stability(task: Task) -> Grid:
    """How sure each score is, the fastest first: how finely and how equally runs were seen to end.

    The interval of a score stands beside it.
    """

    def taken(each: Experiment) -> Cell:
        values = each.stability.progress
        if not values:
            return Cell(UNKNOWN, None)
        return Cell(_listed(values, task.measure), values[-1] - values[0])

    return grid(
        task.ranked,
        [
            (_text("experiment"), lambda each: in_words(each.name)),
            (Head("runs"), lambda each: in_figures(len(each.runs), "d")),
            (Head(f"evaluated every ({task.unit})"), lambda each: _every(each, task.unit)),
            (_text(f"{task.measure} to the target"), taken),
        ],
    )


def _listed(values: Sequence[float], measure: Measure) -> str:
    """Each value, or where they are many, how many runs had it."""
    texts = [written(value, measure) for value in values]
    if len(texts) <= _ONE_BY_ONE:
        return (", " if measure == "samples" else " ").join(texts)
    return ", ".join(f"{text} ({count})" for text, count in Counter(texts).items())


def _mean(runs: Sequence[Run], measure: Measure) -> Cell:
    return _progress(average(statistics.fmean, (progress(run, measure) for run in runs)), measure)


def _progress(value: float | None, measure: Measure) -> Cell:
    return Cell(written(value, measure), value)


def _converged(of: Experiment) -> Cell:
    return Cell(f"{len(of.converged)} of {len(of.runs)}", len(of.converged))
