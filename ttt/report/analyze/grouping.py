"""From runs to experiments: which belong together, their score, and whether it stands. Pure.

May not know files, nor what an experiment is beside others.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence

from ttt.compliance import usage_of
from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.rcp import Rcp
from ttt.report.analyze.repetitions import repetitions
from ttt.report.analyze.score import Score, agreed, average, dropped, olympic, spread, valid_time
from ttt.report.analyze.significance import confidence
from ttt.report.analyze.standing import counted_twice, standing
from ttt.report.analyze.weak import is_weak, throughput
from ttt.report.run import Run

_FILE, _COMPUTED = "scaling.json", "reference convergence points, by ttt"
_BY_A_TOOL = (
    "scaling.json says {factor:.4f}, which package_checker computes of these logs and writes there"
    " by itself: the score is given without"
)
_DOUBTFUL = "counts as it does officially, but its clock contradicts itself"

Judge = Callable[[Sequence[Run]], Rcp | None]


def group(runs: Iterable[Run], judge: Judge | None = None) -> list[Experiment]:
    """Put together the runs that repeat each other, in the order of the first of each.

    Args:
        runs: All of them.
        judge: Gives the verdict on the convergence of an experiment; without it there is none.
    """
    return [_experiment(members, judge) for members in repetitions(runs)]


def _experiment(runs: tuple[Run, ...], judge: Judge | None) -> Experiment:
    times = tuple(map(valid_time, runs))
    timed = [(run, time) for run, time in zip(runs, times, strict=True) if time is not None]
    converged = [run for run, _ in timed]
    trusted = [(run, time) for run, time in timed if run.clock_trusted]
    side_by_side = any(map(is_weak, runs))
    drop = dropped(agreed(run.benchmark for run in runs))
    score = _score(runs, times, drop, side_by_side)
    rcp = judge(runs) if judge is not None else None
    scaling, source = (None, None) if side_by_side else _scaling(runs, rcp)
    problems, remarks = standing(runs, times, drop, _unconverged(rcp))
    counting = converged if side_by_side else _averaged(timed, len(runs), drop)
    if score.seconds is None and not side_by_side:
        counting = []
    known = None
    if score.seconds is not None:
        known = confidence([time for _, time in trusted], len(runs) - len(timed), drop)
    return Experiment(
        runs=runs,
        times=times,
        counting=tuple(counting),
        score=score,
        interval=known,
        time=spread([time for _, time in trusted]),
        epochs=spread([run.epochs for run in converged if run.epochs is not None]),
        resolution=average(statistics.median, (run.eval_interval_s for run, _ in trusted)),
        problems=tuple(problems),
        rcp=rcp,
        remarks=(
            *remarks,
            *(f"{run.path.name} {_DOUBTFUL}" for run in counting if not run.clock_trusted),
            *_left_out(runs, scaling, side_by_side),
        ),
        scaling=scaling,
        scaling_source=source,
        scaled_seconds=None if score.seconds is None or not scaling else score.seconds * scaling,
        energy_j=None if side_by_side else _energy(counting, scaling),
        weak=throughput(runs, times) if side_by_side else None,
    )


def _score(
    runs: Sequence[Run], times: Sequence[float | None], drop: int, side_by_side: bool
) -> Score:
    again = counted_twice(runs)
    if again and not agreed(run.official for run in runs):  # official logs have it as a problem
        return Score(None, f"{again}; give ttt report fewer of the folders")
    if side_by_side:
        return Score(None, "models trained side by side are scored by models a minute")
    return olympic(times, drop)


def _averaged(timed: Sequence[tuple[Run, float]], count: int, drop: int) -> list[Run]:
    """The runs whose mean the score of so many is, the fastest first."""
    ordered = [run for run, _ in sorted(timed, key=lambda each: each[1])]
    return ordered[drop : count - drop] if count > 2 * drop else ordered


def _unconverged(rcp: Rcp | None) -> str | None:
    return None if rcp is None or rcp.verdict == "passed" else rcp.reason


def _scaling(runs: Sequence[Run], rcp: Rcp | None) -> tuple[float | None, str | None]:
    """What the score is multiplied with, and who says so.

    A scaling.json beside the logs is the authority (training_rules.adoc, "Score scaling"), also one
    that nothing can read; package_checker would write one where there is none. The trees of MLPerf
    HPC were published without those that it writes for them today, so that there only a file that
    says something else counts.
    """
    hpc = any(usage_of(run.benchmark) == "hpc" for run in runs)
    computed = rcp.scaling if rcp is not None and rcp.verdict == "passed" else None
    if any(run.official for run in runs):
        factor = agreed(run.scaling_factor for run in runs)
        if factor is not None and not (hpc and factor == computed):
            return factor, _FILE
        if any(run.scaling_problem for run in runs):
            return None, None
    return (None, None) if hpc or computed is None else (computed, _COMPUTED)


def _left_out(runs: Sequence[Run], scaling: float | None, side_by_side: bool) -> list[str]:
    factor = agreed(run.scaling_factor for run in runs)
    if factor is None or scaling is not None or side_by_side:
        return []
    return [_BY_A_TOOL.format(factor=factor)]


def _energy(runs: Sequence[Run], scaling: float | None) -> float | None:
    """Mean energy of runs, scaled as their score; None unless it is known of all."""
    spent = [run.energy_j for run in runs if run.energy_j is not None]
    if not spent or len(spent) < len(runs):
        return None
    return sum(spent) / len(spent) * (scaling or 1.0)
