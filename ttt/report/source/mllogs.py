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
from ttt.report.run import Evaluation, Rejected, Run
from ttt.report.source import progress
from ttt.report.source.folders import steady_rate
from ttt.report.source.systems import Place, amount, place_of, text, whole

_DAYS_30 = 30 * 24 * 3600.0
_YEARS_100 = 100 * 365 * 24 * 3600.0
_TOGETHER = 1.0  # seconds; as much may two processes disagree that write one log


@dataclass(slots=True)
class _Clock:
    """The moments of a run, in milliseconds since the epoch; None if not told."""

    init_start: float | None = None
    init_stop: float | None = None
    run_start: float | None = None
    run_stop: float | None = None

    def take(self, key: str, time_ms: float) -> None:
        """Note a moment, with the official summarizer's choice among several.

        It takes what it saw last of either run_start or run_stop when it has seen both.
        """
        match key:
            case "init_start":
                self.init_start = time_ms if self.init_start is None else self.init_start
            case "init_stop":
                self.init_stop = time_ms if self.init_stop is None else self.init_stop
            case "run_start" if not self.ended:
                self.run_start = time_ms
            case "run_stop" if not self.ended:
                self.run_stop = time_ms

    @property
    def ended(self) -> bool:
        return self.run_start is not None and self.run_stop is not None


@dataclass(slots=True)
class _Log:
    """What is gathered while the records go by."""

    clock: _Clock = field(default_factory=_Clock)
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
    elapsed, doubts = _elapsed(log.clock)
    status, benchmark = _status(log), text(first.get("submission_benchmark"))
    nodes, per_node = whole(told.get("number_of_nodes")), whole(told.get("accelerators_per_node"))
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
        accelerators=None if nodes is None or per_node is None else nodes * per_node,
        accelerator_name=text(told.get("accelerator_model_name")),
        accelerator_memory_bytes=amount(told.get("accelerator_memory_capacity")),
        passed=verdict.passed,
        problems=(*verdict.problems, *older, *doubts, *filter(None, [place.problem])),
        official=None if benchmark is None else benchmark in official_ids(),
        ruleset=verdict.ruleset,
        ruleset_reason=verdict.reason,
        division=text(first.get("submission_division")),
        **_target(log, verdict),
        **_course(log, elapsed),
    )


def _elapsed(clock: _Clock) -> tuple[float | None, list[str]]:
    """Seconds from start to stop, and what is doubtful about them.

    The official summarizer believes any clock. A time that cannot be is unknown here; one that can
    is taken, since it is in the published tables.
    """
    start, stop = clock.run_start, clock.run_stop
    if start is None or stop is None:
        return None, []
    seconds = (stop - start) / 1000
    if not 0 < seconds < _YEARS_100:
        return None, [f"run_stop is {seconds:g} s after run_start, which no clock can say"]
    doubts = []
    if seconds > _DAYS_30:
        doubts.append(f"run_stop is {seconds / 86400:,.0f} days after run_start")
    early = 0.0 if clock.init_stop is None else (clock.init_stop - start) / 1000
    if early > _TOGETHER:
        doubts.append(f"run_start says it was {early:g} s before init_stop, which comes first")
    return seconds, doubts


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
    return f"no run_stop; last record {key} {seconds:.1f} s after run_start"


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


def _course(log: _Log, elapsed: float | None) -> dict[str, Any]:
    """How training went on."""
    begin = log.clock.run_start
    benchmark = text(log.first.get("submission_benchmark")) or ""
    epoch_size = whole(log.first.get("train_samples"))
    batch = whole(log.first.get("global_batch_size"))
    known: dict[str, Any] = {"global_batch": batch, "train_samples": epoch_size}
    if begin is None:
        return known
    counts = (log.stop or {}).get
    stop = progress.Position(
        progress.number(counts("epoch_num")), progress.number(counts("samples_count"))
    )
    unit = log.course.unit(benchmark, epoch_size, batch, stop)
    evaluations = log.course.evaluations(begin, unit)
    blocks = log.course.blocks(begin, unit)
    last = log.course.last(unit, stop)
    train_s = sum(block.seconds for block in blocks) or None
    eval_s = log.course.eval_s()
    return known | {
        "evaluations": evaluations,
        "blocks": blocks,
        "quality": evaluations[-1].quality if evaluations else None,
        "epochs": last.epochs,
        "samples": last.samples,
        "train_s": train_s,
        "eval_s": eval_s,
        "eval_fraction": eval_s / elapsed if eval_s is not None and elapsed else None,
        "eval_interval_s": _interval(evaluations),
        "samples_per_s": last.samples / train_s if last.samples and train_s else None,
        "steady_samples_per_s": steady_rate(blocks),
    }


def _interval(evaluations: Iterable[Evaluation]) -> float | None:
    """Mean seconds between evaluations: how finely the time to train was seen."""
    times = sorted({each.seconds for each in evaluations})
    return times[-1] / len(times) if times and times[-1] > 0 else None
