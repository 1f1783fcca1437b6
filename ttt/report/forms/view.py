"""All that a study says of each experiment, side by side, and the answer in a sentence. Pure.

A study holds every analysis by itself. Readers look at one experiment at a time: here they are put
together, once for all forms. May not know how anything looks.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt.report.analysis.diagnosis import Finding
from ttt.report.analysis.hardware import Profile, Row
from ttt.report.analysis.scaling import Efficiency, Point, Sweep
from ttt.report.analysis.score import Group, agreed
from ttt.report.analysis.size import Goal, goal
from ttt.report.analysis.stability import MANY, Comparison, Stability
from ttt.report.analysis.study import Study
from ttt.report.analysis.words import (
    counted,
    duration,
    machine,
    names,
    percent,
    printable,
    unit_for,
)
from ttt.report.run import Run

_ERROR = 0.05  # of Welch's test: from which on it does not tell two apart
PLURAL = {"accelerator": "accelerators", "process": "processes"}


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
        name: Tells it from the other experiments of its task.
        stability: How sure the score is.
        point: Its place in a sweep; None where it is in none.
        row: Its line of the hardware table, if it has one.
        seen: What its runs lost time to, the most expensive first.
    """

    group: Group
    name: str
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
        results: In the order they were found.
        sweeps: Of these.
        comparisons: Between these.
    """

    benchmark: str
    title: str
    results: tuple[Result, ...]
    sweeps: tuple[Sweep, ...]
    comparisons: tuple[Comparison, ...]


def identity(group: Group) -> Path:
    """What a group is known by, wherever a study speaks of it."""
    return group.runs[0].path


def tasks(study: Study) -> list[Task]:
    """Everything of a study but its hardware table, profiles and rejects, by what may compete."""
    points = {identity(each.group): each for sweep in study.sweeps for each in sweep.points}
    rows = {identity(row.group): row for row in study.rows}
    found = {run.path: findings for run, findings in study.findings}
    places: dict[Goal, list[int]] = {}
    for place, group in enumerate(study.groups):
        places.setdefault(goal(group), []).append(place)
    return [
        Task(
            benchmark=key.benchmark or "unknown benchmark",
            title=_title(key, [study.groups[place] for place in members]),
            results=tuple(
                Result(
                    group=study.groups[place],
                    name=name,
                    stability=study.stability[place],
                    point=points.get(identity(study.groups[place])),
                    row=rows.get(identity(study.groups[place])),
                    seen=tuple(_seen(study.groups[place], found)),
                )
                for place, name in zip(
                    members, names([study.groups[place] for place in members]), strict=True
                )
            ),
            sweeps=tuple(each for each in study.sweeps if goal(each.points[0].group) == key),
            comparisons=tuple(each for each in study.comparisons if goal(each.first) == key),
        )
        for key, members in places.items()
    ]


def _title(of: Goal, groups: Sequence[Group]) -> str:
    metric = of.metric or agreed(run.metric for group in groups for run in group.runs)
    parts = [of.benchmark or "unknown benchmark"]
    if of.target is not None:
        parts.append(f"to {metric} {of.target:g}" if metric else f"to {of.target:g}")
    said = [" ".join(parts), f"rules {of.ruleset}" if of.ruleset else None]
    official = any(group.official for group in groups)
    said.append(f"{of.division} division" if official and of.division == "open" else None)
    return printable(", ".join(filter(None, said)))


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


def answer(task: Task) -> str:
    """Who is fastest, how far it scales and what stops it, as one or two sentences."""
    scored = [each for each in task.results if each.group.score.seconds is not None]
    if not scored:
        return f"No score from {counted(len(task.results), 'experiment')}."
    best = min(scored, key=lambda each: each.group.score.seconds or 0.0)
    unit = unit_for([each.group.score.seconds for each in scored])
    took = duration(best.group.score.seconds, best.group.resolution, unit)
    text = f"{took} on {_machine(best.group)}{_rank(best, scored, task)}."
    if best.point is not None and best.point.bottleneck is not None:
        sweep = next(each for each in task.sweeps if best.point in each.points)
        first = sweep.points[0].workers
        text += (
            f" With {best.point.workers / first:.3g} times as many {PLURAL[sweep.unit]} as the"
            f" smallest of its sweep, {first:,}, it is {best.point.speed_up:.3g} times as fast:"
            f" {percent(best.point.efficiency.time_to_train)} of the ideal."
            f" {sentence(best.point.bottleneck)}"
        )
    return text


def _rank(best: Result, scored: Sequence[Result], task: Task) -> str:
    """How sure it is that the best is the best, and which it is where the machine does not tell."""
    if len(scored) < 2:
        return ""
    alike = sum(_machine(each.group) == _machine(best.group) for each in scored) > 1
    which = f", {best.name}" if alike else ""
    name = {identity(each.group): each.name for each in scored}
    rivals = [each for each in task.comparisons if each.first is best.group]
    close = [
        name[identity(each.second)]
        for each in rivals
        if each.hidden or each.p_value is None or each.p_value >= _ERROR
    ]
    if close:
        return f"{which}: the lowest of {len(scored)}, not told apart from {close[0]}"
    return f"{which}, the fastest of {len(scored)}"


def _machine(group: Group) -> str:
    submitter = agreed(run.submitter for run in group.runs)
    text = machine(group) or "an unknown machine"
    return f"{text} ({printable(submitter)})" if submitter else text


def compared(comparison: Comparison, name: dict[Path, str]) -> str:
    """What a comparison says, in a sentence."""
    first, second = name[identity(comparison.first)], name[identity(comparison.second)]
    text = f"{first}: {comparison.ratio:.3g} times as fast as {second}"
    if comparison.hidden:
        text += ", a difference below one evaluation interval"
    if min(len(comparison.first.runs), len(comparison.second.runs)) < 2:
        text += "; too few runs to tell them apart"
    elif comparison.p_value is not None:
        surely = "tells them apart" if comparison.p_value < _ERROR else "does not tell them apart"
        text += f"; Welch's t-test {surely} (p = {comparison.p_value:.2g})"
    if comparison.runs is not None:
        runs = f"{MANY:,} runs or more" if comparison.runs == MANY else f"{comparison.runs} runs"
        text += f"; {runs} of each tell so much apart four times out of five"
    return f"{text}."


def laws(sweep: Sweep) -> str:
    """The fits of a sweep, in a sentence; empty without any."""
    first = counted(sweep.points[0].workers, sweep.unit, PLURAL[sweep.unit])
    of = {
        "Amdahl": f"the time-to-train on {first} by Amdahl's law",
        "Gustafson": "the time of a step on many by Gustafson's law",
    }
    shares = []
    for fit in sweep.fits:
        sizes = ", ".join(f"{size:,}" for size in fit.sizes)
        # A law with one unknown goes through any two points: the second confirms nothing.
        how = f"within {percent(fit.error)}" if len(fit.sizes) > 2 else "two points fit any law"
        shares.append(f"{100 * fit.serial:.3g}% of {of[fit.law]} (at {sizes}; {how})")
    return f"serial share: {'; '.join(shares)}" if shares else ""


def over(profiles: Sequence[Profile]) -> str:
    """How many benchmarks the profiles are made of, as a title."""
    return f"Over {max((len(each.ratios) for each in profiles), default=0)} benchmarks"


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


def whose(sweep: Sweep) -> str:
    """What makes a sweep differ from others of its task."""
    parts = [sweep.submitter, sweep.accelerator or "no accelerator"]
    return printable(", ".join(filter(None, parts)))


def recount(seen: Seen, group: Group) -> str:
    """In which runs a finding is: empty for a single run, "all 5 runs" or "runs with seed 3, 4"."""
    if len(group.runs) == 1:
        return ""
    if len(seen.runs) == len(group.runs):
        return f"all {len(group.runs)} runs"
    seeds: Sequence[int | None] = [run.seed for run in seen.runs]
    known = ", ".join(str(seed) for seed in seeds[:5] if seed is not None)
    word = "seed" if len(seeds) == 1 else "seeds"
    which = f", {word} {known}{', …' if len(seeds) > 5 else ''}" if known else ""
    return f"{len(seen.runs)} of {len(group.runs)} runs{which}"


def sentence(text: str) -> str:
    """Text of an analysis as a sentence of its own."""
    text = printable(text).strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
