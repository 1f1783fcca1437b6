"""Reads one MLPerf log, anybody's, of any round: record by record, whatever is wrong with it.

What is no MLPerf log is rejected; one that is damaged, cut off or absurd is a run of which less is
known. Times are those of the clock in the log, which the rules do not check. May not know how logs
are found, nor how runs are scored or shown.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ttt.compliance import Verdict, check_file, official_ids, target_of
from ttt.compliance.records import Record, records
from ttt.report.read import progress
from ttt.report.read.clock import Clock
from ttt.report.read.folders import steady_rate
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
class _Log:
    """What is gathered while the records go by."""

    clock: Clock = field(default_factory=Clock)
    first: dict[str, Any] = field(default_factory=dict)
    stop: dict[str, Any] | None = None
    target: dict[str, Any] = field(default_factory=dict)
    course: progress.Course = field(default_factory=progress.Course)
    last: tuple[str, float] | None = None
    any: bool = False

    def take(self, record: Record) -> None:
        """Note one record."""
        self.any = True
        if record.fields is None or not isinstance(key := record.fields["key"], str):
            return
        metadata = record.fields["metadata"]
        metadata = metadata if isinstance(metadata, dict) else {}
        self.first.setdefault(key, record.fields["value"])
        if key == "target_accuracy" and not self.target:
            self.target = metadata
        if record.time_ms is None or not math.isfinite(record.time_ms):
            return
        self.last = key, record.time_ms
        if self.clock.ended:
            return
        self.clock.take(key, record.time_ms)
        if key == "run_start":
            self.course = progress.Course()  # what came before was another run's, or a rehearsal
        if key == "run_stop":
            self.stop = metadata
        self.course.take(key, record.time_ms, record.fields["value"], metadata)


def read(path: Path, ruleset: str | None = None) -> Run | Rejected:
    """Read a log and have it checked.

    Args:
        path: The log.
        ruleset: By which to check; None is that of the log's round, as `check_file` finds it.

    Returns:
        The run, or why this is no MLPerf log.
    """
    log = _Log()
    try:
        for record in records(path):
            log.take(record)
    except OSError as error:
        return Rejected(path, f"the file cannot be read: {error.strerror}")
    place = place_of(path)
    verdict = check_file(path, ruleset)
    if not log.any:
        return Rejected(path, verdict.problems[0])
    return _run(path, log, place, verdict)


def _run(path: Path, log: _Log, place: Place, verdict: Verdict) -> Run:
    first, told = log.first, place.description
    elapsed_ms, doubts = log.clock.elapsed_ms, tuple(log.clock.doubts())
    elapsed = None if elapsed_ms is None else elapsed_ms / 1000
    factor, damage = scaling_of(path.parent)
    course = _course(log, verdict, elapsed)
    status, benchmark = _status(log), text(first.get("submission_benchmark"))
    nodes, per_node = whole(told.get("number_of_nodes")), whole(told.get("accelerators_per_node"))
    nodes = nodes or None  # 0 nodes do not train
    accelerators = None if nodes is None or per_node is None else nodes * per_node
    older = verdict.warnings if not verdict.passed else ()
    return Run(
        path=path,
        source="MLPerf log",
        digest=str(path.parent.resolve()),
        submitter=text(told.get("submitter")) or text(first.get("submission_org")),
        system=place.system or text(first.get("submission_platform")),
        description=told,
        benchmark=benchmark,
        seed=whole(first.get("seed")),
        status=status,
        reason=_reason(log) if status != "success" else None,
        stopped=None if log.clock.run_stop is None else log.clock.run_stop / 1000,
        time_to_train_s=elapsed if status == "success" else None,
        elapsed_s=elapsed,
        init_s=_between(log.clock.init_start, log.clock.init_stop),
        precision=text(first.get("lowest_numerical_precision_in_linear")),
        nodes=nodes,
        accelerators=accelerators,
        replicas=_replicas(first, accelerators),
        accelerator_name=model(told.get("accelerator_model_name")),
        accelerator_memory_bytes=amount(told.get("accelerator_memory_capacity")),
        passed=verdict.passed,
        problems=(*verdict.problems, *older, *doubts, *filter(None, [place.problem])),
        official=None if benchmark is None else benchmark in official_ids(),
        ruleset=verdict.ruleset,
        ruleset_reason=verdict.reason,
        division=text(first.get("submission_division")),
        clock_trusted=not doubts,
        instance_scale=_instance_scale(first),
        scaling_factor=factor,
        scaling_problem=damage,
        **_target(log, verdict),
        **_spent(path, course.get("samples"), log.clock, nodes),
        **{name: course[name] for name in course.keys() - (_BY_THE_CLOCK if doubts else set())},
    )


def _spent(path: Path, samples: float | None, clock: Clock, nodes: int | None) -> dict[str, Any]:
    """What power logs say that the run took."""
    start, elapsed_ms = clock.run_start, clock.elapsed_ms
    run = Span(start, start + elapsed_ms) if start is not None and elapsed_ms is not None else None
    known = energy_of(path, run, nodes)
    energy_j = known.get("energy_j")
    return known | {"samples_per_j": samples / energy_j if samples and energy_j else None}


def _replicas(first: dict[str, Any], accelerators: int | None) -> int | None:
    """Copies of the model that train side by side, where the log discloses how it is cut.

    Experts are spread among copies, so expert parallelism makes none fewer.
    """
    cuts = [whole(first.get(f"{axis}_parallelism")) for axis in ("tensor", "pipeline", "context")]
    if accelerators is None or any(cut is None for cut in cuts):
        return None
    together = math.prod(cut or 0 for cut in cuts)
    return accelerators // together if together and not accelerators % together else None


def _instance_scale(first: dict[str, Any]) -> int | None:
    """Accelerators, or nodes without any, that trained one of several models; as the log says."""
    nodes, per_node = whole(first.get("number_of_nodes")), whole(first.get("accelerators_per_node"))
    return None if nodes is None or per_node is None else nodes * max(per_node, 1)


def _status(log: _Log) -> str:
    if log.stop is None or log.clock.run_start is None:
        return "died"
    status = log.stop.get("status")
    return status if isinstance(status, str) and status else "without status"


def _reason(log: _Log) -> str | None:
    if log.clock.run_start is None:
        return "no run_start"
    if log.stop is not None:
        return f"run_stop says {_status(log)}"
    if log.last is None:
        return "no run_stop"
    key, time_ms = log.last
    seconds = (time_ms - log.clock.run_start) / 1000
    side = "after" if seconds >= 0 else "before"
    return f"no run_stop; last record {key} {abs(seconds):.1f} s {side} run_start"


def _between(begin: float | None, end: float | None) -> float | None:
    return None if begin is None or end is None or end < begin else (end - begin) / 1000


def _target(log: _Log, verdict: Verdict) -> dict[str, Any]:
    """The target: a log of ttt says it itself; of an official one the closed rules do."""
    higher = log.target.get("higher_is_better")
    target = progress.number(log.first.get("target_accuracy"))
    if target is None and verdict.ruleset is not None and verdict.division == "closed":
        target, higher = target_of(verdict.benchmark or "", verdict.ruleset) or (None, None)
    return {
        "metric": text(log.target.get("metric")),
        "target": target,
        "higher_is_better": higher if isinstance(higher, bool) else None,
    }


def _course(log: _Log, verdict: Verdict, elapsed: float | None) -> dict[str, Any]:
    """How training went on."""
    begin = log.clock.run_start
    benchmark = text(log.first.get("submission_benchmark")) or ""
    batch = whole(log.first.get("global_batch_size"))
    train_samples = whole(log.first.get("train_samples"))
    known: dict[str, Any] = {
        "global_batch": batch,
        "step_samples": None if benchmark in FILLED_WITH_TOKENS else batch,
        "train_samples": train_samples,
        "sequence_length": tokens_in_a_sample(
            benchmark, whole(log.first.get("max_sequence_length"))
        ),
    }
    if begin is None:
        return known
    counts, course = (log.stop or {}).get, log.course
    stop = Position(progress.number(counts("epoch_num")), progress.number(counts("samples_count")))
    rules = verdict.ruleset, verdict.division == "closed" and verdict.official
    unit = course.unit(benchmark, train_samples, batch, stop, rules)
    last = course.last(unit, stop)
    end = None if elapsed is None else log.clock.run_stop
    spans = course.spans(begin, end, unit, last)
    evaluations = course.evaluations(begin, end, unit, spans.blocks)
    train_s = sum(block.seconds for block in spans.blocks) or None
    return known | {
        "train_samples": unit.epoch if unit.doubt else train_samples,
        "doubts": (unit.doubt,) if unit.doubt else (),
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
