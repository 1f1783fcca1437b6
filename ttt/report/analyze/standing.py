"""What MLCommons would say of the set of logs that an official result is made of. Pure.

A problem is what the rules of the result's round refuse. A remark is what only the tools of today
would refuse, or what a reader of the score should know. May not know how a score is computed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ttt.compliance import SEEDS_CHECKED, SEEDS_RULED, at_least, runs_needed
from ttt.report.analyze.repetitions import copies, repeated_seeds
from ttt.report.analyze.weak import crowded, is_weak
from ttt.report.run import Run


@dataclass(frozen=True, slots=True)
class _Set:
    """The logs of a result and what counts of them.

    Attributes:
        runs: All of them.
        converged: How many have a valid time.
        benchmark: Their official id.
        closed: Whether all are in the closed division.
        side_by_side: Whether these are models that MLPerf HPC had trained at the same time.
    """

    runs: Sequence[Run]
    converged: int
    benchmark: str
    closed: bool
    side_by_side: bool

    @property
    def failed(self) -> int:
        """Of models side by side only logs that break the rules: others may be left out."""
        if self.side_by_side:
            return sum(run.passed is False for run in self.runs)
        return len(self.runs) - self.converged

    def by(self, ruleset: str) -> bool:
        """Whether all were checked by this ruleset or a newer one."""
        known = _rulesets(self.runs)
        return bool(known) and all(at_least(each, ruleset) for each in known)


def standing(
    runs: Sequence[Run], times: Sequence[float | None], allowed: int, unconverged: str | None
) -> tuple[list[str], list[str]]:
    """Problems and remarks, a sentence each; none where nothing official was tried.

    Args:
        runs: The logs of one result.
        times: Time-to-train in seconds of each; None for one without a valid time.
        allowed: How many may have none.
        unconverged: What reference convergence points say against them.
    """
    benchmarks = {run.benchmark for run in runs} - {None}
    if not any(run.official for run in runs):
        return [], []
    of = _Set(
        runs=runs,
        converged=sum(time is not None for time in times),
        benchmark=str(benchmarks.pop()) if len(benchmarks) == 1 else "",
        closed={run.division for run in runs} - {None} == {"closed"},
        side_by_side=any(map(is_weak, runs)),
    )
    problems, remarks = list(_problems(of, allowed)), list(_remarks(of))
    if unconverged is not None:
        why = f"reference convergence points: {unconverged}"
        # The rules compare the epochs behind a score, which models side by side do not have.
        if of.side_by_side:
            remarks.append(f"{why}; package_checker refuses that, the rules have them for scores")
        else:
            problems.append(why)
    return problems, remarks


def _problems(of: _Set, allowed: int) -> Iterator[str]:
    """What package_checker, or a reviewer, would refuse the logs of an official benchmark for."""
    yield from _number(of)
    if of.failed > allowed:
        what = "that break the rules" if of.side_by_side else "without a valid time"
        yield f"{of.failed} runs {what}, {allowed} may be"
        for run in of.runs:
            if run.passed is False and run.problems:
                yield f"{run.path.name}: {run.problems[0]}"
    if len(rulesets := sorted(_rulesets(of.runs))) > 1:
        yield f"logs were checked by different rulesets: {', '.join(rulesets)}"
    yield from _copied(of.runs)
    if of.closed and of.by(SEEDS_RULED):
        yield from _seeds(of.runs)
    # HPC's rules ended with v3.0, but want models side by side to differ in their seeds
    # (hpc_training_rules.adoc, "Throughput").
    elif of.side_by_side and (again := _again(of.runs)):
        yield f"{again}; the rules want such models left out"
    damage = {run.scaling_problem for run in of.runs if run.scaling_problem is not None}
    yield from (f"{each}; what the score is multiplied with is unknown" for each in damage)


def _remarks(of: _Set) -> Iterator[str]:
    """What today's package_checker refuses in any round, and the rules of this one do not.

    And what cannot be: that models together had more accelerators than there are.
    """
    if of.closed and of.by(SEEDS_CHECKED) and not of.by(SEEDS_RULED):
        for each in _seedless(of.runs) if of.side_by_side else _seeds(of.runs):
            yield f"{each}; package_checker refuses that, the rules do from v4.1"
    if of.side_by_side and (crowd := crowded(of.runs)):
        yield crowd


def _number(of: _Set) -> Iterator[str]:
    needed = runs_needed(of.benchmark)
    if needed is None:
        return
    if not of.side_by_side and len(of.runs) != needed:
        yield f"{of.benchmark} takes exactly {needed} runs, here are {len(of.runs)}"
    if of.side_by_side and of.converged < needed:
        yield (
            f"{of.benchmark} takes {needed} or more models trained side by side,"
            f" here are {of.converged} that converged"
        )


def _rulesets(runs: Iterable[Run]) -> set[str]:
    return {run.ruleset for run in runs if run.ruleset is not None}


def _seeds(runs: Sequence[Run]) -> Iterator[str]:
    if again := _again(runs):
        yield again
    yield from _seedless(runs)


def _seedless(runs: Sequence[Run]) -> Iterator[str]:
    if seedless := sum(run.seed is None for run in runs):
        yield f"{seedless} of {len(runs)} runs log no seed"


def _again(runs: Sequence[Run]) -> str | None:
    seeds = repeated_seeds(runs)
    noun, verb = ("seed", "was") if len(seeds) == 1 else ("seeds", "were")
    return f"{noun} {', '.join(map(str, seeds))} {verb} run more than once" if seeds else None


def counted_twice(runs: Sequence[Run]) -> str | None:
    """What makes a mean of these runs wrong: a seed or a run that is there more than once."""
    return _again(runs) or next(_copied(runs), None)


def _copied(runs: Sequence[Run]) -> Iterator[str]:
    return (f"{run.path.name} is a copy of {first.path.name}" for run, first in copies(runs))
