"""How a run went on by its MLPerf log: evaluations, training between them, what it tracked.

Records of epochs, blocks and evaluations may each be missing; all ranks may write the same ones.
Knows keys and metadata, no file.
"""

import math
import statistics
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttt.report.read.spans import Interval, Spans, spans
from ttt.report.read.units import Position, Unit, counted_from, unit_of, without_epoch
from ttt.report.run import LARGEST, Block, Evaluation

_TOGETHER = 1000.0  # ms; clocks of two processes that write one log may differ by this


def number(value: Any) -> float | None:
    """A number that can be a measurement, None of anything else."""
    if type(value) not in (int, float) or not abs(value) < LARGEST:
        return None
    return float(value)


def _count(value: Any) -> float | None:
    """A number of epochs or samples; none is below 0."""
    found = number(value)
    return found if found is not None and found >= 0 else None


@dataclass(slots=True)
class _Opened:
    """A start that waits for its stop."""

    begin: float
    first: Position
    epochs: float | None


@dataclass(slots=True)
class Course:
    """Gathers the records of epochs, blocks and evaluations while a log is read.

    Times come in milliseconds since the epoch, as logged, and go out in seconds since run_start.
    """

    _open: dict[str, dict[float | None, _Opened]] = field(default_factory=dict)
    _closed: dict[str, dict[float | None, Interval]] = field(default_factory=dict)
    _values: list[tuple[float, float, Position]] = field(default_factory=list)
    _last_at: dict[tuple[Position, int], float] = field(default_factory=dict)
    _tracked: list[float] = field(default_factory=list)
    _step_seconds: list[float] = field(default_factory=list)
    _first_epoch: float | None = None
    _epochs_before: int | None = None  # that had ended at the first evaluation in the log
    _metric: Any = None
    _last: Position | None = None

    def take(self, key: str, time_ms: float, value: Any, metadata: Mapping[str, Any]) -> None:
        """Take in a record; most are about something else."""
        at = Position(_count(metadata.get("epoch_num")), _count(metadata.get("samples_count")))
        name, _, what = key.partition("_")
        if key in ("eval_accuracy", "eval_error"):
            self._evaluated(time_ms, value, metadata.get("metric"), at)
        elif key == "tracked_stats":
            self._track(value)
        elif name in ("epoch", "block", "eval") and what in ("start", "stop"):
            first = number(metadata.get("first_epoch_num"))
            counted = (first, at.epoch_num, at.samples_count)
            label = next((each for each in counted if each is not None), None)
            if what == "start":
                count = 1.0 if name == "epoch" else number(metadata.get("epoch_count"))
                self._begin(name, label, _Opened(time_ms, at, count))
            else:
                self._end(name, label, time_ms, at)

    def _begin(self, name: str, label: float | None, opened: _Opened) -> None:
        if name != "eval" and self._first_epoch is None:
            self._first_epoch = label
        if label is None or label not in self._closed.get(name, ()):
            self._open.setdefault(name, {}).setdefault(label, opened)  # every rank may log it

    def _end(self, name: str, label: float | None, time_ms: float, at: Position) -> None:
        """Close what has the same label; a stop may have another than its start."""
        waiting, closed = self._open.get(name, {}), self._closed.setdefault(name, {})
        if label not in waiting:
            if label is not None and label in closed:
                return  # another rank's
            label = next(reversed(waiting), None)
        if (opened := waiting.pop(label, None)) is None or time_ms < opened.begin:
            return
        place = label if label is not None and label not in closed else -1.0 - len(closed)
        closed[place] = Interval(
            opened.begin, time_ms, opened.first, at, label=label, epochs=opened.epochs
        )

    def _evaluated(self, time_ms: float, value: Any, metric: Any, at: Position) -> None:
        self._last = _further(self._last, at)
        if self._epochs_before is None:
            self._epochs_before = len(self._closed.get("epoch", {}))
        self._metric = metric if not self._values else self._metric
        quality = number(value)  # of several metrics, the one that came first
        if quality is None or metric != self._metric:
            return
        second = int(time_ms // _TOGETHER)
        near = (self._last_at.get((at, each)) for each in (second - 1, second, second + 1))
        if not any(one is not None and abs(time_ms - one) <= _TOGETHER for one in near):
            self._values.append((time_ms, quality, at))  # every rank may log the same
            self._last_at[at, second] = time_ms

    def _track(self, value: Any) -> None:
        """Keep what a submitter's own code measured: samples a second, or seconds of a step."""
        if not isinstance(value, dict):
            return
        for name, kept in (("throughput", self._tracked), ("train_step_time", self._step_seconds)):
            if (rate := number(value.get(name))) is not None and rate > 0:
                kept.append(rate)

    def unit(
        self,
        benchmark: str,
        train_samples: int | None,
        batch: int | None,
        stop: Position,
        rules: tuple[str | None, bool],
    ) -> Unit:
        """What this log counts in.

        Args:
            benchmark: Its id.
            train_samples: Of the training set, as logged.
            batch: Samples of an update.
            stop: The position in run_stop.
            rules: The ruleset, and whether it is the closed division.
        """
        unit = unit_of(benchmark, train_samples, *rules)
        numbers = [at.epoch_num for _, _, at in self._values if at.epoch_num is not None]
        unit = counted_from(unit, self._first_epoch, numbers, self._epochs_before or 0)
        return without_epoch(unit, self.last(unit, stop).samples, batch)

    def last(self, unit: Unit, stop: Position) -> Position:
        """Where training ended: at the evaluation that came furthest.

        That is the last one, but for what is evaluated after run_stop in any order.

        Args:
            unit: What is counted.
            stop: The position in run_stop; counts where no evaluation has one.
        """
        at = self._last or stop
        samples = stop.samples_count if at.samples_count is None else at.samples_count
        return unit.position(Position(at.epoch_num, samples))

    def tracked(self, batch: int | None) -> float | None:
        """Samples a second by the log's own statistics: the median, without the first of several.

        The first has the warm-up in it.
        """
        if self._tracked:
            return statistics.median(self._tracked[1:] or self._tracked)
        if self._step_seconds and batch:
            return batch / statistics.median(self._step_seconds[1:] or self._step_seconds)
        return None

    def spans(self, start: float, stop: float | None, unit: Unit, end: Position) -> Spans:
        """How the time on the clock was spent.

        Args:
            start: run_start.
            stop: run_stop; None of a run without, which is taken to its last sign.
            unit: What is counted.
            end: Where training ended.
        """
        intervals = {
            name: [*self._closed.get(name, {}).values()] for name in ("epoch", "block", "eval")
        }
        for name in ("epoch", "block"):  # some logs have starts only: one ends what was before
            intervals[name] += self._unended(name)
        if stop is None:
            ends = (each.end for pieces in intervals.values() for each in pieces)
            stop = max((each for each in ends if math.isfinite(each)), default=start)
        return spans(intervals, start, stop, unit, end)

    def _unended(self, name: str) -> list[Interval]:
        """What has begun and not ended; the last of it has no number of epochs yet."""
        left = list(self._open.get(name, {}).items())
        return [
            Interval(
                one.begin,
                math.inf,
                one.first,
                one.first,
                label=label,
                epochs=one.epochs if place + 1 < len(left) else None,
            )
            for place, (label, one) in enumerate(left)
        ]

    def evaluations(
        self, start: float, stop: float | None, unit: Unit, blocks: Sequence[Block]
    ) -> tuple[Evaluation, ...]:
        """Every value of the metric that is a number.

        What was evaluated after run_stop was off the clock: its time is when training was there.
        """
        found = []
        reached = _Reached(blocks)
        for time_ms, quality, raw in self._values:
            at = unit.position(raw)
            seconds = (time_ms - start) / 1000
            if stop is not None and time_ms > stop + _TOGETHER:
                seconds = reached.at(at.samples, (stop - start) / 1000)
            found.append(Evaluation(seconds, quality, at.epochs, at.samples))
        return tuple(sorted(found, key=lambda each: each.seconds))


def _further(one: Position | None, other: Position) -> Position:
    """The further of two; the one that is known where the other is not."""
    if one is None:
        return other
    for name in ("samples_count", "epoch_num"):
        before, after = getattr(one, name), getattr(other, name)
        if before is not None and after is not None:
            return one if before > after else other
    return other


class _Reached:
    """Finds the moment at which so many samples were trained."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks: list[tuple[Block, float, float]] = []  # samples in it, and by its end
        self._ends: list[float] = []
        for block in blocks:
            if not block.samples:
                break
            self._ends.append((self._ends[-1] if self._ends else 0.0) + block.samples)
            self._blocks.append((block, block.samples, self._ends[-1]))

    def at(self, samples: float | None, elapsed: float) -> float:
        """The moment on the clock at which so many were; its end, elapsed, if that is unknown."""
        if samples is None:
            return elapsed
        place = bisect_left(self._ends, samples - 0.5)
        if place == len(self._ends):
            return elapsed
        block, inside, end = self._blocks[place]
        return block.begin + block.seconds * min(1.0, (samples - end + inside) / inside)
