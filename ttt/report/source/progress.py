"""How a run went on by its MLPerf log: evaluations, and training between them.

Benchmarks differ in what they count: most have epochs in `epoch_num`, some samples or even tokens
under the same name, newer ones `samples_count`. Records of epochs, blocks and evaluations may each
be there or not; the finest that tell of samples are taken. Knows keys and metadata, no file.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ttt.report.run import LARGEST, Block, Evaluation

# How many of what `epoch_num` counts make a sample, where it does not count epochs; the tokens of
# gpt3 come in sequences of 2,048.
_IN_A_SAMPLE = {
    "bert": 1,
    "gpt3": 2048,
    "stable_diffusion": 1,
    "llama2_70b_lora": 1,
    "llama31_8b": 1,
    "llama31_405b": 1,
    "flux1": 1,
    "gpt_oss_20b": 1,
    "deepseekv3_671b": 1,
    "qwen35_397b_grpo": 1,
    "dlrmv4": 1,
}


def number(value: Any) -> float | None:
    """A number that can be a measurement, None of anything else."""
    if type(value) not in (int, float) or not abs(value) < LARGEST:
        return None
    return float(value)


@dataclass(frozen=True, slots=True)
class Position:
    """How far training had come, in what the log says and in both units as far as known."""

    epoch_num: float | None
    samples_count: float | None
    epochs: float | None = None
    samples: float | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """What a log counts in.

    Attributes:
        in_a_sample: How many of `epoch_num` make a sample; None where it counts epochs.
        epoch: Samples of an epoch; None if unknown.
    """

    in_a_sample: int | None
    epoch: int | None

    def position(self, at: Position) -> Position:
        """The same position with epochs and samples."""
        epochs, samples = at.epoch_num, at.samples_count
        if self.in_a_sample is not None:
            if samples is None and epochs is not None:
                samples = epochs / self.in_a_sample
            epochs = samples / self.epoch if samples is not None and self.epoch else None
        if epochs is None and samples is not None and self.epoch:
            epochs = samples / self.epoch
        if samples is None and epochs is not None and self.epoch:
            samples = epochs * self.epoch
        return Position(at.epoch_num, at.samples_count, epochs, samples)


@dataclass(frozen=True, slots=True)
class _Interval:
    """Something with a start and a stop, in milliseconds since the epoch."""

    begin: float
    end: float
    first: Position
    last: Position
    epochs: float | None


@dataclass(slots=True)
class Course:
    """Gathers the records of epochs, blocks and evaluations while a log is read.

    Times come in milliseconds since the epoch, as logged, and go out in seconds since run_start.
    """

    _open: dict[str, tuple[float, Position, float | None]] = field(default_factory=dict)
    _closed: dict[str, list[_Interval]] = field(default_factory=dict)
    _values: list[tuple[float, float, Position]] = field(default_factory=list)
    _metric: Any = None
    _last: Position | None = None

    def take(self, key: str, time_ms: float, value: Any, metadata: Mapping[str, Any]) -> None:
        """Take in a record; most are about something else."""
        at = Position(number(metadata.get("epoch_num")), number(metadata.get("samples_count")))
        name, _, what = key.partition("_")
        if key in ("eval_accuracy", "eval_error"):
            self._evaluated(time_ms, value, metadata.get("metric"), at)
        elif name in ("epoch", "block", "eval") and what == "start":
            count = 1.0 if name == "epoch" else number(metadata.get("epoch_count"))
            self._open.setdefault(name, (time_ms, at, count))  # every rank may tell the same
        elif name in ("epoch", "block", "eval") and what == "stop" and name in self._open:
            begin, first, count = self._open.pop(name)
            if time_ms >= begin:
                interval = _Interval(begin, time_ms, first, at, count)
                self._closed.setdefault(name, []).append(interval)

    def _evaluated(self, time_ms: float, value: Any, metric: Any, at: Position) -> None:
        self._last = at
        self._metric = metric if not self._values else self._metric
        quality = number(value)  # of several metrics, the one that came first
        if quality is not None and metric == self._metric:
            self._values.append((time_ms, quality, at))

    def unit(
        self, benchmark: str, train_samples: int | None, batch: int | None, stop: Position
    ) -> Unit:
        """What this log counts in.

        Where samples are counted no run sees all of them. Some logs then have as `train_samples`
        what was trained, which is no epoch.
        """
        in_a_sample = _IN_A_SAMPLE.get(benchmark)
        if in_a_sample is not None and train_samples is not None:
            trained = self.last(Unit(in_a_sample, None), stop).samples
            if trained is None or train_samples <= trained + (batch or 0):
                train_samples = None
        return Unit(in_a_sample, train_samples or None)

    def last(self, unit: Unit, stop: Position) -> Position:
        """Where training ended: at the last evaluation, as the RCP checker has it.

        Args:
            unit: What is counted.
            stop: What run_stop says, which is taken where no evaluation says anything.
        """
        at = self._last or stop
        samples = stop.samples_count if at.samples_count is None else at.samples_count
        return unit.position(Position(at.epoch_num, samples))

    def evaluations(self, start: float, unit: Unit) -> tuple[Evaluation, ...]:
        """Every value of the metric that is a number."""
        found = []
        for time_ms, quality, raw in self._values:
            at = unit.position(raw)
            found.append(Evaluation((time_ms - start) / 1000, quality, at.epochs, at.samples))
        return tuple(found)

    def eval_s(self) -> float | None:
        """Seconds spent in evaluations; None if nothing tells."""
        evals = self._closed.get("eval")
        return sum(each.end - each.begin for each in evals) / 1000 if evals else None

    def blocks(self, start: float, unit: Unit) -> tuple[Block, ...]:
        """The finest pieces of training, without the evaluations in them."""
        evals = sorted(self._closed.get("eval", ()), key=lambda each: each.begin)
        begins = [each.begin for each in evals]
        choices = [
            [_block(each, start, unit, begins) for each in self._closed.get(name, ())]
            for name in ("epoch", "block")
        ]
        choices.append(_between(evals, start, unit))
        best = max(choices, key=lambda blocks: (_told(blocks), len(blocks)))
        return tuple(best)


def _told(blocks: Sequence[Block]) -> int:
    return sum(block.samples is not None for block in blocks)


def _block(of: _Interval, start: float, unit: Unit, evals: Sequence[float]) -> Block:
    place = bisect_left(evals, of.begin)
    inside = place < len(evals) and evals[place] < of.end
    end = evals[place] if inside else of.end
    samples = _difference(unit.position(of.first).samples, unit.position(of.last).samples)
    if of.first.samples_count is None or of.last.samples_count is None:
        samples = None
        if of.epochs and unit.epoch and unit.in_a_sample is None:
            samples = of.epochs * unit.epoch
    return Block((of.begin - start) / 1000, (end - of.begin) / 1000, samples)


def _between(evals: Sequence[_Interval], start: float, unit: Unit) -> list[Block]:
    blocks = []
    begin, before = start, 0.0
    for each in evals:
        samples = unit.position(each.first).samples
        if each.begin > begin:
            trained = None if samples is None else _difference(before, samples)
            seconds = (each.begin - begin) / 1000
            blocks.append(Block((begin - start) / 1000, seconds, trained))
        begin = max(begin, each.end)
        before = before if samples is None else samples
    return blocks


def _difference(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or not math.isfinite(after - before) or after <= before:
        return None
    return after - before
