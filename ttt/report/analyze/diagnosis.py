"""What one run lost its time to, and what to try. Pure."""

import itertools
from dataclasses import dataclass

from ttt.compliance import init_minutes, rulesets, usage_of
from ttt.errors import counted
from ttt.report.analyze.format import duration, percent, unit_for
from ttt.report.analyze.losses import cold_s, evaluation_s, outside_s, share
from ttt.report.analyze.ranks import stragglers, waiting_most
from ttt.report.run import Run

_READING = {
    "dali": "decode once, with data.loader=resident, or data.loader=cached data.cache_mb=N; or give"
    " a process more cores (data.threads=N)",
    "cached": "more of them kept decoded (data.cache_mb=N), or more cores a process",
}
_EVERY = "target.eval_every_epochs=N or target.eval_every_samples=N"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that made a run slower than it need be, or may break it.

    Attributes:
        what: As "waiting for data".
        measured: The figures, in words.
        advice: What to try.
        share: Of the time-to-train that it took; None if it is no loss of time.
    """

    what: str
    measured: str
    advice: str
    share: float | None = None


def diagnose(run: Run) -> list[Finding]:
    """What was found, the most expensive first; nothing where nothing is wrong or known."""
    checks = (
        _waiting,
        _communication,
        _stragglers,
        _evaluation,
        _granularity,
        _cold,
        _outside,
        _tail,
        _recompiles,
        _memory,
        _init,
        _resumed,
        _checkpoints,
    )
    found = [finding for check in checks if (finding := check(run)) is not None]
    return sorted(
        found, key=lambda finding: -1.0 if finding.share is None else finding.share, reverse=True
    )


def _waiting(run: Run) -> Finding | None:
    if run.data_wait_fraction is None or run.data_wait_fraction <= 0.05:
        return None
    worst = waiting_most(run.ranks)
    return Finding(
        "waiting for data",
        f"{percent(run.data_wait_fraction)} of the training time"
        + (f", most of all {worst}" if worst else ""),
        _READING.get(run.loader or "", "more cores a process, storage nearby"),
        _of_training(run.data_wait_fraction, run),
    )


def _communication(run: Run) -> Finding | None:
    if run.communication_fraction is None or run.communication_fraction <= 0.1:
        return None
    return Finding(
        "communication not hidden",
        f"{percent(run.communication_fraction)} of forward, backward and exchange of gradients"
        " computes nothing",
        "more work between exchanges: a larger data.global_batch or accumulate=N; ttt doctor"
        " measures the network",
        _of_training(run.communication_fraction, run),
    )


def _stragglers(run: Run) -> Finding | None:
    slow = stragglers(run.ranks)
    if slow is None:
        return None
    lost = slow.compute_ms - slow.median_ms
    several = len({rank.host for rank in run.ranks}) > 1
    return Finding(
        "stragglers",
        f"{slow.names}: {slow.compute_ms:.3g} ms of computation a step, {slow.median_ms:.3g} ms on"
        " the median rank; all wait for the slowest",
        "look for other jobs, clocks and cooling of that machine with ttt doctor"
        + (", or leave it out" if several else ""),
        _of_training(lost / run.step_ms_p50, run) if run.step_ms_p50 else None,
    )


def _evaluation(run: Run) -> Finding | None:
    seconds = evaluation_s(run)
    part, half = share(seconds, run), share(_half_interval(run), run)
    if seconds is None or part is None or part <= 0.1:
        return None
    times = f" in {counted(len(run.evaluations), 'evaluation')}" if run.evaluations else ""
    advice = _advice(run, "a larger evaluation batch", "data.eval_batch=N")
    if run.eval_beside_s:
        advice = "more of it beside training, where a part is already"
    elif run.source == "MLPerf log":
        advice += ", or evaluation beside training"
    if half is not None and part / 2 > half and not run.official:
        advice = f"{_advice(run, 'fewer evaluations', _EVERY)}; {advice}"
    return Finding(
        "evaluation", f"{_time(seconds, run)}{times}, {percent(part)} of the time", advice, part
    )


def _granularity(run: Run) -> Finding | None:
    """Twice the evaluations save half of the wait for the next one and cost themselves."""
    half, evaluations = _half_interval(run), share(evaluation_s(run), run)
    part = share(half, run)
    if half is None or part is None or part <= 0.05 or _after_each_update(run):
        return None
    if evaluations is None or part / 2 - evaluations <= 0.02:
        return None
    advice = "the rules say how often: settings that reach the target just before an evaluation"
    return Finding(
        "evaluations far apart",
        f"one every {_time(2 * half, run)}: a target reached at any time between waits"
        f" {_time(half, run)} on average to be seen; all evaluations take {percent(evaluations)}"
        " of the time",
        advice if run.official else _advice(run, "evaluate more often", _EVERY),
        part,
    )


def _after_each_update(run: Run) -> bool:
    """Whether there is no place between evaluations for another one."""
    places = [0.0, *(one.samples for one in run.evaluations if one.samples is not None)]
    gaps = [after - before for before, after in itertools.pairwise(places)]
    return bool(gaps) and run.step_samples is not None and max(gaps) <= run.step_samples


def _half_interval(run: Run) -> float | None:
    return None if run.eval_interval_s is None else run.eval_interval_s / 2


def _cold(run: Run) -> Finding | None:
    seconds = cold_s(run)
    part = share(seconds, run)
    if seconds is None or part is None or part <= 0.03:
        return None
    first = run.blocks[0]
    return Finding(
        "cold first block",
        f"the first block took {_time(first.seconds, run)}, {_time(seconds, run)} more than at the"
        " median rate of the others",
        "data on faster storage, more read ahead; shapes that were not warmed up",
        part,
    )


def _outside(run: Run) -> Finding | None:
    seconds = outside_s(run)
    part = share(seconds, run)
    if seconds is None or part is None or part <= 0.1:
        return None
    return Finding(
        "neither training nor evaluation",
        f"{_time(seconds, run)} between blocks and evaluations",
        "what is done there on the clock: synchronisation, logging, checkpoints",
        part,
    )


def _tail(run: Run) -> Finding | None:
    if run.step_ms_p50 is None or run.step_ms_p99 is None or (run.steps or 0) < 200:
        return None
    if run.step_ms_p99 <= 3 * run.step_ms_p50:
        return None
    return Finding(
        "some steps take very long",
        f"one step in 100 takes over {run.step_ms_p99:.3g} ms, the median is"
        f" {run.step_ms_p50:.3g} ms",
        "look for other processes on its cores, slow storage and a network that others use",
    )


def _recompiles(run: Run) -> Finding | None:
    if not run.recompiles:
        return None
    return Finding(
        "compiled on the clock",
        f"{counted(run.recompiles, 'graph')} after RUN_START",
        "shapes that the warm-up has not seen: keep them fixed, or compile=false",
    )


def _memory(run: Run) -> Finding | None:
    """Of accelerators only: a host's memory is shared with its page cache and other processes."""
    if not run.accelerators or not run.peak_memory_bytes or not run.accelerator_memory_bytes:
        return None
    used = run.peak_memory_bytes / run.accelerator_memory_bytes
    of = f"{run.peak_memory_bytes / 2**30:.3g} of {run.accelerator_memory_bytes / 2**30:.3g} GiB"
    if used > 0.92:
        advice = "the next run may not fit: a smaller data.global_batch, or accumulate=N"
        return Finding("memory nearly full", f"{of} ({percent(used)})", advice)
    if used < 0.5:
        advice = "a larger data.global_batch may be faster a sample; it may take more epochs"
        return Finding("memory unused", f"{of} ({percent(used)})", advice)
    return None


def _init(run: Run) -> Finding | None:
    """What the rules allow before the clock, by ruleset and division.

    Longer ones are not forbidden: what is over counts as time-to-train. A run without a ruleset, or
    with an unknown one, has the limit of the newest.
    """
    known = rulesets(usage_of(run.benchmark))
    ruleset = run.ruleset if run.ruleset in known else known[0]
    limit = init_minutes(run.benchmark, ruleset, run.division)
    if run.init_s is None or run.init_s <= limit * 60:
        return None
    return Finding(
        "long initialisation",
        f"{run.init_s / 60:.3g} min before the clock, {limit} min are free in MLPerf",
        "keep compiled kernels between runs, start processes faster",
    )


def _resumed(run: Run) -> Finding | None:
    if not run.lost_s:
        return None
    return Finding(
        "interrupted",
        f"{_time(run.lost_s, run)} on the clock from what was saved of it until it went on"
        + (f" as {run.moved}" if run.moved else ""),
        "a queue or a reservation that does not preempt: MLPerf's clock may not be paused;"
        " checkpoint_every_seconds=N loses less",
        share(run.lost_s, run),
    )


def _checkpoints(run: Run) -> Finding | None:
    if not run.checkpoints or run.checkpoint_s is None or run.checkpoint_bytes is None:
        return None
    return Finding(
        "checkpoints",
        f"{run.checkpoints} of {run.checkpoint_bytes / 1e6:,.1f} MB each took"
        f" {_time(run.checkpoint_s, run)} on the clock",
        "a larger checkpoint_every_seconds, where a lost node may cost more",
        share(run.checkpoint_s, run),
    )


def _of_training(part: float, run: Run) -> float | None:
    """A share of the training time as one of all time on the clock."""
    training = share(run.train_s, run)
    return None if training is None else min(1.0, part) * training


def _time(seconds: float, run: Run) -> str:
    """In minutes for official runs, as all their times."""
    return duration(seconds, "min" if run.official else unit_for([seconds]))


def _advice(run: Run, what: str, override: str) -> str:
    """What to try; what to type as well, where it was `ttt run` that ran it."""
    return f"{what}: {override}" if run.source == "run folder" else what
