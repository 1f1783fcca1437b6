"""Everything a report says, computed once and shown in many forms. Knows no form and no file."""

from dataclasses import dataclass

from ttt.report.analyze.diagnosis import Finding, diagnose
from ttt.report.analyze.hardware import Row, hardware
from ttt.report.analyze.rcp import judge
from ttt.report.analyze.scaling import Sweep, sweeps
from ttt.report.analyze.score import Group, group
from ttt.report.analyze.size import Goal, goal
from ttt.report.analyze.stability import Comparison, Stability, comparisons, stability
from ttt.report.run import Found, Rejected, Run


@dataclass(frozen=True, slots=True)
class Study:
    """What a set of runs says.

    Attributes:
        groups: The repetitions of each experiment.
        stability: Of each group, in the same order.
        findings: Of each run that has any.
        sweeps: Groups that differ in size.
        comparisons: Groups that compete.
        rows: The hardware table.
        rejected: What could not be used.
    """

    groups: tuple[Group, ...]
    stability: tuple[Stability, ...]
    findings: tuple[tuple[Run, tuple[Finding, ...]], ...]
    sweeps: tuple[Sweep, ...]
    comparisons: tuple[Comparison, ...]
    rows: tuple[Row, ...]
    rejected: tuple[Rejected, ...]


def study(found: Found) -> Study:
    """Compute all of it."""
    # One that was printed or waits in a queue is no attempt that failed.
    waiting = [run for run in found.runs if run.status == "not started"]
    runs = tuple(run for run in found.runs if run.status != "not started")
    groups = group(runs, judge)
    tasks: dict[Goal, list[Group]] = {}
    for each in groups:
        tasks.setdefault(goal(each), []).append(each)
    findings = [(run, tuple(diagnose(run))) for run in runs]
    return Study(
        groups=tuple(groups),
        stability=tuple(stability(each, tasks[goal(each)]) for each in groups),
        findings=tuple((run, found) for run, found in findings if found),
        sweeps=tuple(sweeps(groups)),
        comparisons=tuple(comparisons(groups)),
        rows=tuple(hardware(groups)),
        rejected=(*found.rejected, *(Rejected(run.path, "not started yet") for run in waiting)),
    )
