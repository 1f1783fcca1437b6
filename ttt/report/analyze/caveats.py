"""What speaks against a result, or for it, in words for every form. Pure."""

from collections.abc import Sequence

from ttt.report.analyze.experiment import Experiment
from ttt.report.analyze.format import duration, percent
from ttt.report.run import Run

_FEW = 5  # failed runs that get a line each
_AGAINST = "not valid: "  # before what a table's "no" is for


def remarks(of: Experiment) -> list[str]:
    """What is wrong with the set of runs, then with each log, below a table of all runs."""
    # A run of ttt that was aborted gives its own reason; its log breaks the rule against aborts.
    runs = [run for run in of.runs if run.source != "run folder" or run.status != "aborted"]
    of_runs = dict.fromkeys(problem for run in runs for problem in run.problems)
    against = [f"{_AGAINST}{problem}" for problem in of.problems]
    return [*against, *of.remarks, *of_runs]


def objections(experiments: Sequence[Experiment]) -> list[str]:
    """Why these results do not stand, and the rest of `problems`: a line each, with whose it is."""
    return _together(
        [
            (each, f"{_AGAINST if line in each.problems else ''}{line}")
            for each in experiments
            for line in problems(each)
        ],
        experiments,
    )


def problems(of: Experiment) -> list[str]:
    """The same of one result in few lines, for a reader who does not see every run.

    A run that may fail is marked as such: what its log breaks is no fault of the result.
    """
    failed, lines = of.failed, list(of.problems)
    if of.score.seconds is None and of.weak is None and not lines:
        lines.append(f"no score: {of.score.method}")
        lines += [f"{_whose_run(run)}: {why_failed(run)}" for run in failed[:_FEW]]
        lines += [f"and {len(failed) - _FEW} more"] if len(failed) > _FEW else []
    elif of.score.seconds is not None:
        allowed = "is the one that may be dropped" if len(failed) == 1 else "may be dropped"
        lines += [f"{_whose_run(run)} {allowed}: {why_failed(run)}" for run in failed]
    of_runs = dict.fromkeys(problem for run in of.converged for problem in run.problems)
    return [*lines, *of.remarks, *of_runs]


def why_failed(run: Run) -> str:
    """Why a run has no valid time."""
    return run.reason or next(iter(run.problems), "it has no valid time")


def broken(run: Run) -> str:
    """The first rule that the log of a run breaks."""
    return next(iter(run.problems), "ttt check says which rules it breaks")


def _whose_run(run: Run) -> str:
    return run.path.name if run.seed is None else f"seed {run.seed}"


def cautions(experiments: Sequence[Experiment], unit: str) -> list[str]:
    """What a reader of these scores should know, a line each, with whose it is.

    Args:
        experiments: All that are shown together.
        unit: Of times.
    """
    lines = [(each, line) for each in experiments for line in each.stability.warnings]
    lines += [(each, line) for each in experiments for line in replaced(each)]
    lines += [(each, line) for each in experiments for line in overstated(each)]
    return [*_together(lines, experiments), *_too_coarse(experiments, unit)]


def replaced(of: Experiment) -> list[str]:
    """A line if samples of a run could not be read and others took their places."""
    skipped = max(run.skipped_samples or 0 for run in of.runs)
    sentence = f"unreadable samples were replaced (data.on_error=skip): {skipped} in a run"
    return [sentence] if skipped else []


def overstated(of: Experiment) -> list[str]:
    """A line if more was computed than the machine can: FLOPs, samples or peak are wrong."""
    used = of.row.used
    known = any(run.flop_per_sample and run.peak_flop_per_s for run in of.counting)
    return [used.reason] if known and used.reason else []


def _together(lines: Sequence[tuple[Experiment, str]], among: Sequence[Experiment]) -> list[str]:
    """A line for each remark, with the experiments that it is about."""
    about: dict[str, list[Experiment]] = {}
    for experiment, line in lines:
        about.setdefault(line, []).append(experiment)
    return [f"{_whose(each, among)}{line}" for line, each in about.items()]


def _whose(some: Sequence[Experiment], among: Sequence[Experiment]) -> str:
    """The beginning of a line about some of several experiments; empty where there is but one."""
    if len(among) == 1:
        return ""
    if 1 < len(some) == len(among):
        return "both experiments: " if len(among) == 2 else f"all {len(among)} experiments: "
    return f"{'; '.join(each.name for each in some)}: "


def grain(of: Experiment, unit: str) -> str | None:
    """What the distance of evaluations hides; None if it is small."""
    part, apart = of.stability.coarse, of.resolution
    if part is None:
        return None
    return (
        f"evaluations are {duration(apart, unit)} apart, {percent(part)} of the score: that hides"
        " smaller differences"
    )


def _too_coarse(experiments: Sequence[Experiment], unit: str) -> list[str]:
    """The same of all of them at once, but for those of which a finding says it already."""
    coarse = [
        each
        for each in experiments
        if each.stability.coarse is not None
        and not any(seen.finding.what == "evaluations far apart" for seen in each.seen)
    ]
    if len(coarse) < 2:
        return [f"{_whose([each], experiments)}{grain(each, unit)}" for each in coarse]
    parts = sorted(each.stability.coarse or 0.0 for each in coarse)
    ends = list(dict.fromkeys(map(percent, (parts[0], parts[-1]))))
    return [
        f"{_whose(coarse, experiments)}evaluations are {' to '.join(ends)} of the score apart: that"
        " hides smaller differences"
    ]
