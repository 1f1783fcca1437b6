"""When the quality is looked at, and on how many samples, in exact whole numbers. Pure.

A benchmark's rule is data, `RULES`; one function, `points`, computes with all of them. Checkers
compare the points exactly, so nothing here is a float: amounts are rational numbers as the rules
write them. GBS is the global batch, in samples. Sources: MLCommons training_rules.adoc, "Quality
measure", and the official checker's files (mlperf_logging, compliance_checker/training_6.1.0).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction


class Rounding(StrEnum):
    """How an amount becomes a whole number of what it is counted in."""

    up = "up"
    down = "down"
    none = "none"  # it stays, and the update that it falls into is finished first


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount that may grow with the batch: `per_batch` * GBS + `fixed`.

    Attributes:
        fixed: What does not depend on the batch.
        per_batch: What each sample of the batch adds.
        multiple: Rounded down to a multiple of this; None for no rounding.
    """

    fixed: Fraction | int
    per_batch: Fraction | int = 0
    multiple: int | None = None

    def at(self, global_batch: int) -> Fraction:
        """The amount for a batch of this many samples."""
        amount = Fraction(self.fixed) + self.per_batch * global_batch
        return (
            amount if self.multiple is None else Fraction(amount // self.multiple * self.multiple)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """When a benchmark is evaluated.

    Attributes:
        every: Between evaluations, in samples or epochs.
        epochs: Whether `every` and `first` are in epochs.
        updates: How `every` becomes whole updates; upwards it is at least one.
        skipped: How many of the first evaluations are left out, rounded down.
        first: No evaluation before this, in samples or epochs; instead of `skipped`.
        intervals: How `first` becomes a whole number of intervals.
        eval_samples: How many samples an evaluation takes, if the rules say it.
    """

    every: Amount
    epochs: bool = False
    updates: Rounding = Rounding.none
    skipped: Amount | None = None
    first: Amount | None = None
    intervals: Rounding = Rounding.none
    eval_samples: int | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """Training samples before the first evaluation, and from one to the next.

    Attributes:
        first: Before the first.
        interval: From one to the next; 0 if not one whole update fits.
        eval_samples: In one evaluation; None if the data set decides.
    """

    first: int
    interval: int
    eval_samples: int | None


def points(rule: Rule, global_batch: int, train_samples: int | None) -> Points:
    """The points of a rule.

    Args:
        rule: Of a benchmark.
        global_batch: Samples in one update; of 0, which another check reports, as of 1.
        train_samples: In one epoch; None, not counted yet, gives 0.
    """
    batch = max(1, global_batch)
    unit = (train_samples or 0) if rule.epochs else 1
    interval = _whole(rule.every.at(batch) * unit, batch, rule.updates)
    if rule.updates is Rounding.up:
        interval = max(batch, interval)
    first = interval
    if rule.skipped is not None:
        first = (math.floor(rule.skipped.at(batch)) + 1) * interval
    elif rule.first is not None:
        first = _whole(rule.first.at(batch) * unit, interval, rule.intervals)
    return Points(first, interval, rule.eval_samples)


def _whole(amount: Fraction, of: int, how: Rounding) -> int:
    """An amount of samples as whole samples, and as a multiple of `of` where it is rounded."""
    if how is Rounding.none or not of:
        return round(amount)
    return (math.ceil if how is Rounding.up else math.floor)(amount / of) * of


def of_epochs(epochs: float, train_samples: int) -> int:
    """The samples of this many epochs as they were typed: 0.05 is 1/20, which no float is."""
    return round(Fraction(str(epochs)) * train_samples)


_C4 = Rule(Amount(12_288), updates=Rounding.up, eval_samples=1024)
_EACH_EPOCH = Rule(Amount(1), epochs=True)
# By benchmark: MLPerf's ids, and smaller ones of ttt that keep the form of a rule.
RULES: Mapping[str, Rule] = {
    # FLOOR(0.05*(230.23*GBS+3000000), 25000) samples, none before the first
    "bert": Rule(
        Amount(150_000, Fraction("0.05") * Fraction("230.23"), multiple=25_000), eval_samples=10_000
    ),
    # GBS * FLOOR(42 + 24576/GBS) samples, then after every update
    "deepseekv3_671b": Rule(
        Amount(0, 1), first=Amount(24_576, 42), intervals=Rounding.down, eval_samples=1024
    ),
    # FLOOR(samples of an epoch / (GBS * 20)) updates
    "dlrm_dcnv2": Rule(
        Amount(Fraction(1, 20)), epochs=True, updates=Rounding.down, eval_samples=89_137_319
    ),
    # I = MAX(1, CEIL(2290835.423/GBS)) updates; none before FLOOR((4480*GBS+135331840)/3) samples
    "dlrmv4": Rule(
        Amount(Fraction("2290835.423")),
        updates=Rounding.up,
        first=Amount(Fraction(135_331_840, 3), Fraction(4480, 3), multiple=1),
        intervals=Rounding.up,
        eval_samples=2_058_204,
    ),
    # CEIL(262144/GBS) updates
    "flux1": Rule(Amount(262_144), updates=Rounding.up, eval_samples=29_696),
    "gnmt": replace(_EACH_EPOCH, eval_samples=3003),
    "gpt_oss_20b": _C4,
    # CEIL(384/GBS) updates; the first FLOOR(0.125*GBS+2) evaluations are skipped
    "llama2_70b_lora": Rule(
        Amount(384),
        updates=Rounding.up,
        skipped=Amount(2, Fraction("0.125")),
        eval_samples=173,
    ),
    # CEIL(18432/GBS) updates; the first FLOOR(0.0026*GBS+12) evaluations are skipped
    "llama31_405b": Rule(
        Amount(18_432),
        updates=Rounding.up,
        skipped=Amount(12, Fraction("0.0026")),
        eval_samples=5760,
    ),
    # CEIL(12288/GBS) updates
    "llama31_8b": _C4,
    "llama31_8b_twin": replace(_C4, every=Amount(1024), eval_samples=256),
    # GBS * CEIL(2.5 + 3840/GBS) samples, then after every update
    "qwen35_397b_grpo": Rule(
        Amount(0, 1),
        first=Amount(3840, Fraction("2.5")),
        intervals=Rounding.up,
        eval_samples=251,
    ),
    # every 4 epochs; the offset is free
    "resnet": Rule(Amount(4), epochs=True, first=Amount(3), eval_samples=50_000),
    "transformer": replace(_EACH_EPOCH, eval_samples=3003),
}


def evaluation_interval(benchmark: str, global_batch: int, train_samples: int | None) -> int:
    """Samples between evaluations of a benchmark in `RULES`."""
    return points(RULES[benchmark], global_batch, train_samples).interval


def first_evaluation(benchmark: str, global_batch: int, train_samples: int | None) -> int:
    """Samples before the first evaluation of a benchmark in `RULES`."""
    return points(RULES[benchmark], global_batch, train_samples).first
