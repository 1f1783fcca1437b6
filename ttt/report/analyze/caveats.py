"""What speaks against a result, or for it, in words for every form. Pure."""

from collections.abc import Sequence

from ttt.report.analyze.format import duration, percent
from ttt.report.analyze.score import Group
from ttt.report.analyze.view import Result
from ttt.report.run import Run

_FEW = 5  # failed runs that get a line each
_AGAINST = "not valid: "  # before what a table's "no" is for


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
    """What is wrong with the set of runs, then with each log, below a table of all runs."""
    # A run of ttt that was aborted gives its own reason; its log breaks the rule against aborts.
    runs = [
        run for run in result.group.runs if run.source != "run folder" or run.status != "aborted"
    ]
    of_runs = dict.fromkeys(problem for run in runs for problem in run.problems)
    against = [f"{_AGAINST}{problem}" for problem in result.group.problems]
    return [*against, *result.group.remarks, *of_runs]


def objections(results: Sequence[Result]) -> list[str]:
    """Why these results do not stand, and the rest of `problems`: a line each, with whose it is."""
    return _together(
        [
            (each, f"{_AGAINST if line in each.group.problems else ''}{line}")
            for each in results
            for line in problems(each)
        ],
        results,
    )


def problems(result: Result) -> list[str]:
    """The same of one result in few lines, for a reader who does not see every run.

    A run that may fail is marked as such: what its log breaks is no fault of the result.
    """
    group = result.group
    failed = [run for run, time in zip(group.runs, group.times, strict=True) if time is None]
    scored = [run for run, time in zip(group.runs, group.times, strict=True) if time is not None]
    lines = list(group.problems)
    if group.score.seconds is None and group.weak is None and not lines:
        lines.append(f"no score: {group.score.method}")
        lines += [f"{_whose_run(run)}: {why_failed(run)}" for run in failed[:_FEW]]
        lines += [f"and {len(failed) - _FEW} more"] if len(failed) > _FEW else []
    elif group.score.seconds is not None:
        allowed = "is the one that may be dropped" if len(failed) == 1 else "may be dropped"
        lines += [f"{_whose_run(run)} {allowed}: {why_failed(run)}" for run in failed]
    of_runs = dict.fromkeys(problem for run in scored for problem in run.problems)
    return [*lines, *group.remarks, *of_runs]


def why_failed(run: Run) -> str:
    """Why a run has no valid time."""
    return run.reason or next(iter(run.problems), "it has no valid time")


def broken(run: Run) -> str:
    """The first rule that the log of a run breaks."""
    return next(iter(run.problems), "ttt check says which rules it breaks")


def _whose_run(run: Run) -> str:
    return run.path.name if run.seed is None else f"seed {run.seed}"


def cautions(results: Sequence[Result], unit: str) -> list[str]:
    """What a reader of these scores should know, a line each, with whose it is.

    Args:
        results: All that is shown together.
        unit: Of times.
    """
    lines = [(each, line) for each in results for line in each.stability.warnings]
    lines += [(each, line) for each in results for line in replaced(each.group)]
    return [*_together(lines, results), *_too_coarse(results, unit)]


def replaced(group: Group) -> list[str]:
    """A line if samples of a run could not be read and others took their places."""
    skipped = max(run.skipped_samples or 0 for run in group.runs)
    sentence = f"unreadable samples were replaced (data.on_error=skip): {skipped} in a run"
    return [sentence] if skipped else []


def _together(lines: Sequence[tuple[Result, str]], among: Sequence[Result]) -> list[str]:
    """A line for each remark, with the experiments that it is about."""
    of: dict[str, list[Result]] = {}
    for result, line in lines:
        of.setdefault(line, []).append(result)
    return [f"{_whose(results, among)}{line}" for line, results in of.items()]


def _whose(results: Sequence[Result], among: Sequence[Result]) -> str:
    """The beginning of a line about some of several results; empty where there is but one."""
    if len(among) == 1:
        return ""
    if 1 < len(results) == len(among):
        return "both experiments: " if len(among) == 2 else f"all {len(among)} experiments: "
    return f"{'; '.join(each.name for each in results)}: "


def grain(result: Result, unit: str) -> str | None:
    """What the distance of evaluations hides; None if it is small."""
    part, apart = result.stability.coarse, result.group.resolution
    if part is None:
        return None
    return (
        f"evaluations are {duration(apart, unit)} apart, {percent(part)} of the score: that hides"
        " smaller differences"
    )


def _too_coarse(results: Sequence[Result], unit: str) -> list[str]:
    """The same of all of them at once, but for those of which a finding says it already."""
    coarse = [
        each
        for each in results
        if each.stability.coarse is not None
        and not any(seen.finding.what == "evaluations far apart" for seen in each.seen)
    ]
    if len(coarse) < 2:
        return [f"{_whose([each], results)}{grain(each, unit)}" for each in coarse]
    parts = sorted(each.stability.coarse or 0.0 for each in coarse)
    ends = list(dict.fromkeys(map(percent, (parts[0], parts[-1]))))
    return [
        f"{_whose(coarse, results)}evaluations are {' to '.join(ends)} of the score apart: that"
        " hides smaller differences"
    ]
