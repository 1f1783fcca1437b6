"""All that a study says of each experiment, side by side. Pure.

A study holds every analysis by itself. Readers look at one experiment at a time: here they are put
together, once for all forms. May not know how anything looks.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt.errors import one_line
from ttt.report.analyze.diagnosis import Finding
from ttt.report.analyze.format import unit_of
from ttt.report.analyze.hardware import Row
from ttt.report.analyze.names import beside_machines, names
from ttt.report.analyze.progress import Measure, measure_of
from ttt.report.analyze.scaling import Efficiency, Point, Sweep
from ttt.report.analyze.score import Group, agreed
from ttt.report.analyze.size import Goal, goal
from ttt.report.analyze.stability import Comparison, Stability
from ttt.report.analyze.study import Study
from ttt.report.run import Run


@dataclass(frozen=True, slots=True)
class Seen:
    """One finding, in as many runs of a group as have it.

    Attributes:
        finding: That of the run which it cost most.
        runs: All that have it.
    """

    finding: Finding
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One experiment and everything known of it.

    Attributes:
        group: Its runs and score.
        name: Tells it from the other experiments of its task, in every table and figure.
        apart: As much of its name as is not its machine.
        stability: How sure the score is.
        point: Its place in a sweep; None where it is in none.
        row: Its line of the hardware table, if it has one.
        seen: What its runs lost time to, the most expensive first.
    """

    group: Group
    name: str
    apart: str
    stability: Stability
    point: Point | None
    row: Row | None
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What may be compared: everything trained to the same quality under the same rules.

    Attributes:
        benchmark: What was trained.
        title: Such as "resnet to top1 0.759, rules 4.0.0".
        unit: Of all its times: "s" or "min".
        measure: Of all its progress.
        results: In the order they were found.
        sweeps: Of these.
        comparisons: Between these.
    """

    benchmark: str
    title: str
    unit: str
    measure: Measure
    results: tuple[Result, ...]
    sweeps: tuple[Sweep, ...]
    comparisons: tuple[Comparison, ...]


def ranked(task: Task) -> list[Result]:
    """Its results by their time, the fastest first; those without one last."""
    return sorted(task.results, key=lambda each: official_s(each.group) or math.inf)


def official_s(group: Group) -> float | None:
    """The score as MLCommons publishes it: scaled where its reference of convergence demands it."""
    return group.score.seconds if group.scaled_seconds is None else group.scaled_seconds


def identity(group: Group) -> Path:
    """What a group is known by, wherever a study speaks of it."""
    return group.runs[0].path


def attempts(study: Study) -> list[Run]:
    """Runs of experiments whose clock never started, as where a setting was wrong.

    None where nothing else is there: then they are what a reader asks about.
    """
    failed = [group for group in study.groups if _never_began(group)]
    if len(failed) == len(study.groups):
        return []
    return [run for group in failed for run in group.runs]


def _never_began(group: Group) -> bool:
    return all(run.began is False and run.status == "died" for run in group.runs)


def tasks(study: Study) -> list[Task]:
    """Everything of a study but its hardware table, attempts and rejects, by what may compete."""
    aside = {run.path for run in attempts(study)}
    points = {identity(each.group): each for sweep in study.sweeps for each in sweep.points}
    rows = {identity(row.group): row for row in study.rows}
    found = {run.path: findings for run, findings in study.findings}
    sure = dict(zip(map(identity, study.groups), study.stability, strict=True))
    groups = [group for group in study.groups if identity(group) not in aside]
    goals = dict.fromkeys(map(goal, groups))
    members: dict[Goal, list[Group]] = {}
    for group in groups:
        members.setdefault(_whole(goal(group), goals), []).append(group)
    return [
        Task(
            benchmark=key.benchmark or "unknown benchmark",
            title=_title(key, groups),
            unit=unit_of(groups),
            measure=measure_of(groups),
            results=tuple(
                Result(
                    group=group,
                    name=name,
                    apart=apart,
                    stability=sure[identity(group)],
                    point=points.get(identity(group)),
                    row=rows.get(identity(group)),
                    seen=tuple(_seen(group, found)),
                )
                for group, name, apart in zip(
                    groups, names(groups), beside_machines(groups), strict=True
                )
            ),
            sweeps=tuple(each for each in study.sweeps if goal(each.points[0].group) == key),
            comparisons=tuple(each for each in study.comparisons if goal(each.first) == key),
        )
        for key, groups in members.items()
    ]


def _whole(of: Goal, known: Iterable[Goal]) -> Goal:
    """The goal of runs that ended too early to say by which rules: that of the others like them."""
    if of.ruleset is not None:
        return of
    others = [each for each in known if each.ruleset is not None and each[:3] == of[:3]]
    return others[0] if len(others) == 1 else of


def _title(of: Goal, groups: Sequence[Group]) -> str:
    metric = of.metric or agreed(run.metric for group in groups for run in group.runs)
    parts = [of.benchmark or "unknown benchmark"]
    if of.target is not None:
        parts.append(f"to {metric} {of.target:g}" if metric else f"to {of.target:g}")
    said = [" ".join(parts), f"rules {of.ruleset}" if of.ruleset else None]
    official = any(group.official for group in groups)
    said.append(f"{of.division} division" if official and of.division == "open" else None)
    return one_line(", ".join(filter(None, said)))


def _seen(group: Group, found: dict[Path, tuple[Finding, ...]]) -> Iterable[Seen]:
    by_what: dict[str, list[tuple[Run, Finding]]] = {}
    for run in group.runs:
        for finding in found.get(run.path, ()):
            by_what.setdefault(finding.what, []).append((run, finding))
    seen = [
        Seen(max((finding for _, finding in each), key=_cost), tuple(run for run, _ in each))
        for each in by_what.values()
    ]
    return sorted(seen, key=lambda each: _cost(each.finding), reverse=True)


def _cost(finding: Finding) -> float:
    return -1.0 if finding.share is None else finding.share


def losses(of: Efficiency) -> dict[str, float]:
    """The share of the ideal that each cause took, which add up to 1 - efficiency.

    The causes multiply: their logarithms add up, and share out what is lost. A factor above 1
    made up for others and takes nothing. With a factor unknown nothing can be shared out.
    """
    if of.time_to_train is None or of.time_to_train >= 1:
        return {}
    lost = 1 - of.time_to_train
    factors = {"throughput": of.throughput, "statistical": of.statistical, "overhead": of.overhead}
    logs = {
        name: max(0.0, -math.log(value))
        for name, value in factors.items()
        if value is not None and value > 0
    }
    total = sum(logs.values())
    if len(logs) < len(factors) or not total:
        return {"unknown": lost}
    return {name: lost * log / total for name, log in logs.items() if log}
