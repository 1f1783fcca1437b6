"""What speaks against a result, or for it, in words for every form. Pure."""

from ttt.report.analysis.score import Group
from ttt.report.forms.view import Result
from ttt.report.run import Run

_FEW = 5  # runs that failed, told one by one


def verdict(group: Group) -> str:
    """Whether the result would stand: "yes" or "no" where rules say; else "unofficial".

    A log that failed its check is no obstacle by itself: it counts as the one run that may fail.
    """
    if group.score.seconds is None and group.weak is None:
        return "no"
    if group.official:
        return "no" if group.problems else "yes"
    counted = zip(group.runs, group.times, strict=True)
    unknown = any(run.passed is None for run, time in counted if time is not None)
    return "not checked" if unknown else "unofficial"


def remarks(result: Result) -> list[str]:
    """Why a result would not stand: what is wrong with the set of runs, then with each log."""
    of_runs = dict.fromkeys(problem for run in result.group.runs for problem in run.problems)
    return [*result.group.problems, *of_runs]


def problems(result: Result) -> list[str]:
    """The same in few lines, for a reader who does not see every run.

    A run that may fail is told as such: what its log breaks is no fault of the result.
    """
    group = result.group
    failed = [run for run, time in zip(group.runs, group.times, strict=True) if time is None]
    scored = [run for run, time in zip(group.runs, group.times, strict=True) if time is not None]
    told = list(group.problems)
    if group.score.seconds is None and group.weak is None and not told:
        told.append(f"no score: {group.score.method}")
        told += [f"{_whose_run(run)}: {why_failed(run)}" for run in failed[:_FEW]]
        told += [f"and {len(failed) - _FEW} more"] if len(failed) > _FEW else []
    elif group.score.seconds is not None:
        told += [f"{_whose_run(run)} is dropped, as it may be: {why_failed(run)}" for run in failed]
    return [*told, *dict.fromkeys(problem for run in scored for problem in run.problems)]


def why_failed(run: Run) -> str:
    """Why a run has no valid time."""
    return run.reason or next(iter(run.problems), "it has no valid time")


def _whose_run(run: Run) -> str:
    return run.path.name if run.seed is None else f"seed {run.seed}"


def cautions(result: Result) -> list[str]:
    """What a reader of the score should know, unless a finding says it already."""
    apart = any(each.finding.what == "evaluations far apart" for each in result.seen)
    told = [
        each for each in result.stability.warnings if not (apart and each.startswith("evaluations"))
    ]
    if skipped := max(run.skipped_samples or 0 for run in result.group.runs):
        told.append(f"unreadable samples were replaced (data.on_error=skip): {skipped} in a run")
    return told
