"""What a study answers, in sentences that every form shows. Pure; knows no form."""

from collections.abc import Sequence

from ttt.errors import counted, one_line
from ttt.report.analyze.comparison import Comparison, between_machines
from ttt.report.analyze.experiment import Experiment, Observation
from ttt.report.analyze.format import PLURAL, duration, percent, places_of, significant
from ttt.report.analyze.names import machine
from ttt.report.analyze.rates import remarks
from ttt.report.analyze.scaling import Sweep
from ttt.report.analyze.study import Task

_ERROR = 0.05  # of Welch's test: from which on it does not tell two apart
_AS_FAST = 1.01  # scores over each other: less is no difference, unless a test says so
_MOST_RUNS = 100  # of each; more are not done
_SEEDS = 5  # listed one by one
INTERVAL = "the 95% interval is that of the score over seeds, where three runs or more converged"


def answer(task: Task) -> str:
    """Who is fastest, how far it scales and what stops it, as one or two sentences."""
    scored = [each for each in task.ranked if each.score.seconds is not None]
    side_by_side = "; ".join(weak(each) for each in task.experiments if each.weak)
    if not scored and side_by_side:
        return f"{side_by_side[0].upper()}{side_by_side[1:]}."
    if not scored:
        return f"No score from {counted(len(task.experiments), 'experiment')}."
    best = scored[0]
    took = duration(best.official_s, task.unit, best.interval)
    text = f"{took}{_scaled(best)} on {_machine(best)}{_rank(best, scored, task)}."
    if best.point is not None and best.point.bottleneck is not None:
        sweep = next(each for each in task.sweeps if best.point in each.points)
        first = sweep.points[0].workers
        text += (
            f" With {best.point.workers / first:,.3g} times as many {PLURAL[sweep.unit]} as"
            f" the smallest of its sweep, {first:,}, it is {_times(best.point.speed_up)} as fast:"
            f" {percent(best.point.efficiency.time_to_train)} of the ideal."
            f" {sentence(best.point.bottleneck)}"
        )
    return f"{text} Weak scaling: {side_by_side}." if side_by_side else text


def _scaled(of: Experiment) -> str:
    """By what the reference convergence points scale a score, where they do."""
    factor = 1.0 if of.rcp is None or of.scaled_seconds is None else of.rcp.scaling
    return "" if factor == 1 else f" (scaled by {significant(factor, 4)} for its convergence)"


def weak(experiment: Experiment) -> str:
    """Models trained side by side, as "59 models, 32 accelerators each, 12.75 min, ..."."""
    of = experiment.weak
    assert of is not None
    each = f", {of.instance_scale:,} {PLURAL['accelerator']} each" if of.instance_scale else ""
    rate = f"{significant(of.models_per_minute)} models/min"
    return f"{counted(of.models, 'model')}{each}, {significant(of.minutes, 4)} min, {rate}"


def _rank(best: Experiment, scored: Sequence[Experiment], task: Task) -> str:
    """How sure it is that the best is the best, and which it is where the machine does not tell."""
    if len(scored) < 2:
        return ""
    alike = sum(_machine(each) == _machine(best) for each in scored) > 1
    which = f", {best.name}" if alike else ""
    close = [
        (each.second if each.first is best else each.first).name
        for each in task.comparisons
        if best in (each.first, each.second) and (each.hidden or not _distinct(each.p_value))
    ]
    if close:
        return f"{which}: the lowest of {len(scored)}, not told apart from {close[0]}"
    return f"{which}, the fastest of {len(scored)}"


def _machine(of: Experiment) -> str:
    text = machine(of) or "an unknown machine"
    return f"{text} ({one_line(of.submitter)})" if of.submitter else text


def comparisons(task: Task) -> list[str]:
    """What the comparisons of a task say that are worth it, a sentence each."""
    return [compared(each) for each in between_machines(task.comparisons)]


def compared(comparison: Comparison) -> str:
    """What a comparison says, in a sentence."""
    first, second = comparison.first.name, comparison.second.name
    p_value = comparison.p_value
    apart = _distinct(p_value)
    if comparison.ratio < _AS_FAST and not apart:
        text = f"{first}: as fast as {second}, within {percent(max(0.001, comparison.ratio - 1))}"
    else:
        text = f"{first}: {_times(comparison.ratio)} as fast as {second}"
    if comparison.hidden:
        text += ", a difference below one evaluation interval"
    if min(len(comparison.first.runs), len(comparison.second.runs)) < 2:
        return f"{text}; too few runs to tell them apart."
    if p_value is not None:
        chance = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
        surely = "tells" if apart else "does not tell"
        text += f"; Welch's t-test {surely} them apart ({chance})"
    if not apart and comparison.runs_to_tell is not None:
        many = f"{comparison.runs_to_tell} runs of each to tell them apart (80% power)"
        more = many if comparison.runs_to_tell <= _MOST_RUNS else "more runs than are practical"
        text += f"; it would take {more}"
    return f"{text}."


def _distinct(p_value: float | None) -> bool:
    return p_value is not None and p_value < _ERROR


def _times(ratio: float) -> str:
    """Such as "1.006 times", "1.25 times" or "19.9 times": digits that say something."""
    if 1 < ratio < 1.1:  # what is above 1, as an error would be rounded
        return f"{ratio:.{min(6, places_of(ratio - 1))}f} times"
    return f"{significant(ratio)} times"


def side_by_side(task: Task) -> list[str]:
    """The throughput of models trained at the same time, a line for each experiment."""
    return [f"{each.name}: {weak(each)}" for each in task.ranked if each.weak is not None]


def held_back(sweep: Sweep) -> list[str]:
    """What holds each size back, what is odd about its factors, and the laws: a line each."""
    lines = [
        f"{each.workers:,}: {line}"
        for each in sweep.points
        for line in (*filter(None, [each.bottleneck]), *each.remarks)
    ]
    return [*lines, *filter(None, [laws(sweep)])]


def rates(shown: Sequence[Task]) -> list[str]:
    """Where the witnesses of a rate differ, which was believed and why: a line each."""
    return [
        f"{task.benchmark}, {each.name}: {line}"
        for task in shown
        for each in task.ranked
        for line in rate_remarks(each)
    ]


def rate_remarks(of: Experiment) -> list[str]:
    """The same of one experiment; models side by side have no rate here."""
    if of.weak is not None:
        return []
    doubts = dict.fromkeys(doubt for run in of.runs for doubt in run.doubts)
    return [*doubts, *remarks(of.runs)]


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
        how = f"within {percent(max(0.001, fit.error))}"
        shares.append(f"{100 * fit.serial:.3g}% of {of[fit.law]} (at {sizes}; {how})")
    return f"serial share: {'; '.join(shares)}" if shares else ""


def whose(sweep: Sweep) -> str:
    """What makes a sweep differ from others of its task."""
    parts = [sweep.submitter, sweep.accelerator or "no accelerator"]
    return one_line(", ".join(filter(None, parts)))


def recount(seen: Observation, of: Experiment) -> str:
    """In which runs a finding is: empty for a single run, "all 5 runs" or "2 of 5 runs".

    With the seeds where these are few and the run is ttt's: its user may run them again.
    """
    if len(of.runs) == 1:
        return ""
    if len(seen.runs) == len(of.runs):
        return f"all {len(of.runs)} runs"
    text = f"{len(seen.runs)} of {len(of.runs)} runs"
    seeds = [str(run.seed) for run in seen.runs if run.seed is not None]
    if of.official or not seeds or len(seeds) > _SEEDS:
        return text
    return f"{text}, {'seed' if len(seeds) == 1 else 'seeds'} {', '.join(seeds)}"


def sentence(text: str) -> str:
    """Text of an analysis as a sentence of its own."""
    text = one_line(text).strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
