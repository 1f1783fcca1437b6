"""Reads one MLPerf log, of any submitter and any round, damaged or not.

What is no MLPerf log is rejected; one that is damaged, cut off or absurd is a run of which less is
known. Times are those of the clock in the log, which the rules do not check. May not know how logs
are found, nor how runs are scored or shown.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttt.compliance import Verdict, check_log, official_ids, target_of
from ttt.compliance.log import Log
from ttt.report.read import progress
from ttt.report.read.clock import Clock
from ttt.report.read.folders import steady_rate
from ttt.report.read.model_flops import of_log
from ttt.report.read.power import Span, energy_of
from ttt.report.read.scaling_file import scaling_of
from ttt.report.read.systems import Place, amount, model, place_of, text, whole
from ttt.report.read.units import FILLED_WITH_TOKENS, Position, tokens_in_a_sample
from ttt.report.run import Evaluation, Rejected, Run

# What a clock that contradicts itself cannot give.
_BY_THE_CLOCK = frozenset(
    "evaluations blocks train_s eval_s eval_beside_s eval_fraction eval_interval_s samples_per_s"
    " steady_samples_per_s".split()
)


@dataclass(slots=True)
class _Timeline:
    """The clock of a log, and what happened until it stopped."""

    clock: Clock = field(default_factory=Clock)
    course: progress.Course = field(default_factory=progress.Course)
    stop: dict[str, Any] | None = None  # metadata of run_stop
    last: tuple[str, float] | None = None  # key and time of the last record


def _timeline(log: Log) -> _Timeline:
    timeline = _Timeline()
    for record in log.records:
        key, time_ms, metadata = record.key, record.time_ms, record.metadata or {}
        if key is None or time_ms is None or not math.isfinite(time_ms):
            continue
        timeline.last = key, time_ms
        timeline.clock.take(key, time_ms)
        if key == "run_start":
            timeline.course = progress.Course()  # what came before belongs to another run
        if key == "run_stop":
            timeline.stop = metadata
        timeline.course.take(key, time_ms, record.value, metadata)
        if timeline.clock.ended:
            break
    return timeline


def read(path: Path, ruleset: str | None = None) -> Run | Rejected:
    """Read a log and have it checked.

    Args:
        path: The log.
        ruleset: By which to check; None is that of the log's round, as `check_file` finds it.

    Returns:
        The run, or why this is no MLPerf log.
    """
    try:
        log = Log.read(path)
    except OSError as error:
        return Rejected(path, f"the file cannot be read: {error.strerror}")
    verdict = check_log(log, ruleset)
    if not log.records:
        return Rejected(path, verdict.problems[0])
    return _run(log, place_of(path), verdict)


def _run(log: Log, place: Place, verdict: Verdict) -> Run:
    path, described, timeline = log.path, place.description, _timeline(log)
    clock = timeline.clock
    elapsed_ms, doubts = clock.elapsed_ms, tuple(clock.caveats())
    elapsed = None if elapsed_ms is None else elapsed_ms / 1000
    factor, damage = scaling_of(path.parent)
    course = _course(log, timeline, verdict, elapsed)
    status, benchmark = _status(timeline), text(log.benchmark)
    nodes = whole(described.get("number_of_nodes")) or None  # 0 nodes do not train
    per_node = whole(described.get("accelerators_per_node"))
    accelerators = None if nodes is None or per_node is None else nodes * per_node
    older = verdict.warnings if not verdict.passed else ()
    return Run(
        path=path,
        source="MLPerf log",
        digest=str(path.parent.resolve()),
        submitter=text(described.get("submitter")) or text(log.first("submission_org")),
        system=place.system or text(log.first("submission_platform")),
        description=described,
        benchmark=benchmark,
        seed=whole(log.first("seed")),
        status=status,
        reason=_reason(timeline) if status != "success" else None,
        stopped=None if clock.run_stop is None else clock.run_stop / 1000,
        time_to_train_s=elapsed if status == "success" else None,
        elapsed_s=elapsed,
        init_s=_between(clock.init_start, clock.init_stop),
        precision=text(log.first("lowest_numerical_precision_in_linear")),
        nodes=nodes,
        accelerators=accelerators,
        replicas=_replicas(log, accelerators),
        accelerator_name=model(described.get("accelerator_model_name")),
        accelerator_memory_bytes=amount(described.get("accelerator_memory_capacity")),
        passed=verdict.passed,
        problems=(*verdict.problems, *older, *doubts, *filter(None, [place.problem])),
        official=None if benchmark is None else benchmark in official_ids(),
        ruleset=verdict.ruleset,
        ruleset_reason=verdict.reason,
        division=text(log.division),
        clock_trusted=not doubts,
        instance_scale=_instance_scale(log),
        scaling_factor=factor,
        scaling_problem=damage,
        **_target(log, verdict),
        **_used(log, described, verdict, course, elapsed, accelerators),
        **_spent(path, course.get("samples"), clock, nodes),
        **{name: course[name] for name in course.keys() - (_BY_THE_CLOCK if doubts else set())},
    )


def _used(
    log: Log,
    described: Mapping[str, Any],
    verdict: Verdict,
    course: Mapping[str, Any],
    elapsed: float | None,
    accelerators: int | None,
) -> dict[str, Any]:
    """Utilization, of a log that keeps the rules of a closed benchmark."""
    fixed = verdict.official and verdict.division == "closed" and course.get("samples_certain")
    return of_log(
        verdict.benchmark if fixed else None,
        model(described.get("accelerator_model_name")),
        text(log.first("lowest_numerical_precision_in_linear")),
        samples=course.get("samples"),
        workers=accelerators,
        seconds=elapsed,
    )


def _spent(path: Path, samples: float | None, clock: Clock, nodes: int | None) -> dict[str, Any]:
    """The energy of the run by its power logs."""
    start, elapsed_ms = clock.run_start, clock.elapsed_ms
    run = Span(start, start + elapsed_ms) if start is not None and elapsed_ms is not None else None
    known = energy_of(path, run, nodes)
    energy_j = known.get("energy_j")
    return known | {"samples_per_j": samples / energy_j if samples and energy_j else None}


def _replicas(log: Log, accelerators: int | None) -> int | None:
    """Copies of the model that train side by side, where the log discloses how it is cut.

    Experts are spread among copies, so expert parallelism makes none fewer.
    """
    cuts = [whole(log.first(f"{axis}_parallelism")) for axis in ("tensor", "pipeline", "context")]
    if accelerators is None or any(cut is None for cut in cuts):
        return None
    together = math.prod(cut or 0 for cut in cuts)
    return accelerators // together if together and not accelerators % together else None


def _instance_scale(log: Log) -> int | None:
    """Accelerators, or nodes without any, that trained one of several models, as logged."""
    nodes = whole(log.first("number_of_nodes"))
    per_node = whole(log.first("accelerators_per_node"))
    return None if nodes is None or per_node is None else nodes * max(per_node, 1)


def _status(timeline: _Timeline) -> str:
    if timeline.stop is None or timeline.clock.run_start is None:
        return "died"
    status = timeline.stop.get("status")
    return status if isinstance(status, str) and status else "without status"


def _reason(timeline: _Timeline) -> str | None:
    if timeline.clock.run_start is None:
        return "no run_start"
    if timeline.stop is not None:
        return f"run_stop says {_status(timeline)}"
    if timeline.last is None:
        return "no run_stop"
    key, time_ms = timeline.last
    seconds = (time_ms - timeline.clock.run_start) / 1000
    side = "after" if seconds >= 0 else "before"
    return f"no run_stop; last record {key} {abs(seconds):.1f} s {side} run_start"


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None or end < begin else (end - begin) / 1000


def _target(log: Log, verdict: Verdict) -> dict[str, Any]:
    """The target: a log of ttt has it; for an official one it is that of the closed rules."""
    stated = next((each.metadata for each in log.of("target_accuracy") if each.metadata), {})
    higher = stated.get("higher_is_better")
    target = progress.number(log.first("target_accuracy"))
    if target is None and verdict.ruleset is not None and verdict.division == "closed":
        target, higher = target_of(verdict.benchmark or "", verdict.ruleset) or (None, None)
    return {
        "metric": text(stated.get("metric")),
        "target": target,
        "higher_is_better": higher if isinstance(higher, bool) else None,
    }


def _course(
    log: Log, timeline: _Timeline, verdict: Verdict, elapsed: float | None
) -> dict[str, Any]:
    """How training went on."""
    begin, benchmark = timeline.clock.run_start, text(log.benchmark) or ""
    batch, train_samples, length = (
        whole(log.first(key))
        for key in ("global_batch_size", "train_samples", "max_sequence_length")
    )
    known: dict[str, Any] = {
        "global_batch": batch,
        "step_samples": None if benchmark in FILLED_WITH_TOKENS else batch,
        "train_samples": train_samples,
        "sequence_length": tokens_in_a_sample(benchmark, length),
    }
    if begin is None:
        return known
    counts, course = (timeline.stop or {}).get, timeline.course
    stop = Position(progress.number(counts("epoch_num")), progress.number(counts("samples_count")))
    rules = verdict.ruleset, verdict.division == "closed" and verdict.official
    unit = course.unit(benchmark, train_samples, batch, stop, rules)
    last = course.last(unit, stop)
    end = None if elapsed is None else timeline.clock.run_stop
    spans = course.spans(begin, end, unit, last)
    evaluations = course.evaluations(begin, end, unit, spans.blocks)
    train_s = sum(block.seconds for block in spans.blocks) or None
    return known | {
        "train_samples": unit.epoch if unit.caveat else train_samples,
        "doubts": (unit.caveat,) if unit.caveat else (),
        "samples_certain": unit.certain,
        "evaluations": evaluations,
        "blocks": spans.blocks,
        "quality": evaluations[-1].quality if evaluations else None,
        "epochs": last.epochs,
        "samples": last.samples,
        "train_s": train_s,
        "eval_s": spans.eval_s,
        "eval_beside_s": spans.beside_s,
        "eval_fraction": spans.eval_s / elapsed if spans.eval_s is not None and elapsed else None,
        "eval_interval_s": _interval(evaluations),
        "samples_per_s": last.samples / train_s if last.samples and train_s else None,
        "steady_samples_per_s": steady_rate(spans.blocks),
        "tracked_samples_per_s": course.tracked(batch),
    }


def _interval(evaluations: Iterable[Evaluation]) -> float | None:
    """Seconds between the last two evaluations: the target was reached somewhere in there."""
    times = sorted({0.0, *(each.seconds for each in evaluations if each.seconds > 0)})
    return times[-1] - times[-2] if len(times) > 1 else None
