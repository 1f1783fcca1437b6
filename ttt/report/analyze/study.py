"""The tree that a report is: tasks, their experiments, the runs of these. Built once. Pure."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ttt.errors import one_line
from ttt.report.analyze.comparison import Comparison, comparisons
from ttt.report.analyze.diagnosis import Finding, diagnose
from ttt.report.analyze.experiment import Experiment, Goal, Observation
from ttt.report.analyze.grouping import group
from ttt.report.analyze.hardware import in_order, row
from ttt.report.analyze.names import beside_machines, names
from ttt.report.analyze.progress import Measure, measure_of, unit_of
from ttt.report.analyze.rcp import judge
from ttt.report.analyze.scaling import Sweep, sweeps
from ttt.report.analyze.score import agreed
from ttt.report.analyze.stability import stability
from ttt.report.run import Found, Rejected, Run

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Task:
    """What may be compared: everything trained to the same quality under the same rules.

    Attributes:
        benchmark: What was trained.
        title: Such as "resnet to top1 0.759, rules 4.0.0".
        unit: Of all its times: "s" or "min".
        measure: Of all its progress.
        experiments: In the order they were found.
        sweeps: Of these.
        comparisons: Between these.
    """

    benchmark: str
    title: str
    unit: str
    measure: Measure
    experiments: tuple[Experiment, ...]
    sweeps: tuple[Sweep, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def ranked(self) -> list[Experiment]:
        """Its experiments by their time, the fastest first; those without one last."""
        return sorted(self.experiments, key=lambda each: each.official_s or math.inf)

    @property
    def runs(self) -> Iterator[Run]:
        """All of its experiments."""
        return (run for each in self.experiments for run in each.runs)


@dataclass(frozen=True, slots=True)
class Study:
    """What a set of runs says.

    Attributes:
        tasks: What competes, with all but `attempts`.
        experiments: All, in the order they were found.
        sweeps: Of all tasks.
        comparisons: Of all tasks.
        hardware: The experiments of all tasks, in the order of the hardware table.
        attempts: Runs of experiments whose clock never started.
        rejected: What could not be used.
    """

    tasks: tuple[Task, ...]
    experiments: tuple[Experiment, ...]
    sweeps: tuple[Sweep, ...]
    comparisons: tuple[Comparison, ...]
    hardware: tuple[Experiment, ...]
    attempts: tuple[Run, ...]
    rejected: tuple[Rejected, ...]


def study(found: Found) -> Study:
    """Compute all of it."""
    # One that was printed or waits in a queue is no attempt that failed.
    waiting = [run for run in found.runs if run.status == "not started"]
    experiments = group((run for run in found.runs if run.status != "not started"), judge)
    goals = _by(experiments, lambda each: each.goal)
    for each in experiments:
        each.stability = stability(each, goals[each.goal])
        each.row = row(each)
        each.seen = tuple(_observed(each.runs))
    grown, compared = sweeps(experiments), comparisons(experiments)
    for point in (point for sweep in grown for point in sweep.points):
        point.experiment.point = point
    # Where nothing else is there, attempts are what a reader asks about.
    failed = [each for each in experiments if each.never_began]
    failed = failed if len(failed) < len(experiments) else []
    shown = [each for each in experiments if each not in failed]
    known = dict.fromkeys(each.goal for each in shown)
    tasks = _by(shown, lambda each: _whole(each.goal, known))
    return Study(
        tasks=tuple(_task(of, members, grown, compared) for of, members in tasks.items()),
        experiments=tuple(experiments),
        sweeps=tuple(grown),
        comparisons=tuple(compared),
        hardware=tuple(each for each in in_order(experiments) if each not in failed),
        attempts=tuple(run for each in failed for run in each.runs),
        rejected=(*found.rejected, *(Rejected(run.path, "not started yet") for run in waiting)),
    )


def _task(
    of: Goal,
    experiments: Sequence[Experiment],
    grown: Iterable[Sweep],
    compared: Iterable[Comparison],
) -> Task:
    members = {id(each) for each in experiments}
    called = zip(names(experiments), beside_machines(experiments), strict=True)
    for each, (name, apart) in zip(experiments, called, strict=True):
        each.name, each.apart = name, apart
    return Task(
        benchmark=of.benchmark or "unknown benchmark",
        title=_title(of, experiments),
        unit=unit_of(experiments),
        measure=measure_of(experiments),
        experiments=tuple(experiments),
        # Not by goal: runs that ended too early to say by which rules have another than the task.
        sweeps=tuple(each for each in grown if id(each.points[0].experiment) in members),
        comparisons=tuple(each for each in compared if id(each.first) in members),
    )


def _by(
    experiments: Iterable[Experiment], key: Callable[[Experiment], K]
) -> dict[K, list[Experiment]]:
    found: dict[K, list[Experiment]] = {}
    for each in experiments:
        found.setdefault(key(each), []).append(each)
    return found


def _whole(of: Goal, known: Iterable[Goal]) -> Goal:
    """The goal of runs that ended too early to say by which rules: that of the others like them."""
    if of.ruleset is not None:
        return of
    others = [each for each in known if each.ruleset is not None and each[:3] == of[:3]]
    return others[0] if len(others) == 1 else of


def _title(of: Goal, experiments: Sequence[Experiment]) -> str:
    metric = of.metric or agreed(run.metric for each in experiments for run in each.runs)
    parts = [of.benchmark or "unknown benchmark"]
    if of.target is not None:
        parts.append(f"to {metric} {of.target:g}" if metric else f"to {of.target:g}")
    words = [" ".join(parts), f"rules {of.ruleset}" if of.ruleset else None]
    official = any(each.official for each in experiments)
    words.append(f"{of.division} division" if official and of.division == "open" else None)
    return one_line(", ".join(filter(None, words)))


def _observed(runs: Sequence[Run]) -> list[Observation]:
    by_what: dict[str, list[tuple[Run, Finding]]] = {}
    for run in runs:
        for finding in diagnose(run):
            by_what.setdefault(finding.what, []).append((run, finding))
    seen = [
        Observation(max((finding for _, finding in each), key=_cost), tuple(run for run, _ in each))
        for each in by_what.values()
    ]
    return sorted(seen, key=lambda each: _cost(each.finding), reverse=True)


def _cost(finding: Finding) -> float:
    return -1.0 if finding.share is None else finding.share
