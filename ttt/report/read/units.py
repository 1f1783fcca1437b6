"""What an MLPerf log counts: epochs, samples or tokens, from which number, and of which set.

Benchmarks differ: most have epochs in `epoch_num`, some samples or even tokens under the same name,
newer ones `samples_count`. Submitters differ too: a `train_samples` may be a number of steps, or of
packed sequences. So the benchmark's definition is compared. Knows no file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ttt.compliance import at_least

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
    "openfold": 1,
}

# Samples of the training set by the benchmark's definition (the README of each in
# mlcommons/training and mlcommons/hpc), with the first ruleset it is for. Of the transformer it is
# what is left of WMT17 when NVIDIA's v0.7 entry has cleaned it.
_SETS: dict[str, tuple[tuple[str, int], ...]] = {
    "resnet": (("0.6.0", 1_281_167),),
    "ssd": (("0.6.0", 117_266), ("2.0.0", 1_170_301)),  # COCO, then OpenImages
    "retinanet": (("0.6.0", 1_170_301),),
    "maskrcnn": (("0.6.0", 117_266),),
    "transformer": (("0.6.0", 4_590_101),),
    "dlrm": (("0.6.0", 4_195_197_692),),
    "dlrm_dcnv2": (("0.6.0", 4_195_197_692),),
    "unet3d": (("0.6.0", 168),),
    "gnn": (("0.6.0", 94_605_581),),  # 60 % of the 157,675,969 papers with a label in IGBH-full
    "rgat": (("0.6.0", 94_605_581),),
    "cosmoflow": (("0.6.0", 524_288),),
    "deepcam": (("0.6.0", 121_266),),
    "oc20": (("0.6.0", 2_000_000),),
}
_ALIKE = 0.02  # share by which numbers of one thing may differ: filters, rounding to the batch

# Whose batches submitters count in tokens, or in sequences that are packed of several samples.
FILLED_WITH_TOKENS = frozenset({"transformer"})

# Tokens of a sample, where all are packed to the same length; a value in the log comes first.
_TOKENS = {
    "gpt3": 2048,
    "llama2_70b_lora": 8192,
    "llama31_8b": 8192,
    "llama31_405b": 8192,
    "gpt_oss_20b": 8192,
}


@dataclass(frozen=True, slots=True)
class Position:
    """How far training had come: as logged, and in both units as far as known."""

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
        certain: Whether log and benchmark definition agree on what a sample is.
        base: `epoch_num` before training began.
        caveat: How the log contradicts the definition.
    """

    in_a_sample: int | None
    epoch: int | None
    certain: bool = False
    base: float = 0.0
    caveat: str | None = None

    def position(self, at: Position) -> Position:
        """The same position with epochs and samples."""
        epochs, samples = at.epoch_num, at.samples_count
        if self.in_a_sample is not None:
            if samples is None and epochs is not None:
                samples = epochs / self.in_a_sample
            epochs = samples / self.epoch if samples is not None and self.epoch else None
        elif epochs is not None:
            epochs -= self.base
        if epochs is None and samples is not None and self.epoch:
            epochs = samples / self.epoch
        if samples is None and epochs is not None and self.epoch:
            samples = epochs * self.epoch
        return Position(at.epoch_num, at.samples_count, epochs, samples)


def unit_of(benchmark: str, train_samples: int | None, ruleset: str | None, closed: bool) -> Unit:
    """What logs of a benchmark count in.

    Args:
        benchmark: Its id.
        train_samples: Of the training set, as logged.
        ruleset: Of the round, as 4.0.0; None if it is not known.
        closed: Whether the training set is the benchmark's own; the open division may use another.
    """
    in_a_sample = _IN_A_SAMPLE.get(benchmark)
    if in_a_sample is not None:
        return Unit(in_a_sample, train_samples or None, certain=True)
    known = [
        size for first, size in _SETS.get(benchmark, ()) if at_least(ruleset or "0.6.0", first)
    ]
    if not known or not closed:
        return Unit(None, train_samples or None)
    size = known[-1]
    if train_samples is None or math.isclose(train_samples, size, rel_tol=_ALIKE):
        return Unit(None, train_samples or size, certain=True)
    caveat = (
        f"train_samples is {train_samples:,}, and the training set of {benchmark} has {size:,}"
        " samples: the log counts something else there, and an epoch is taken as the set"
    )
    return Unit(None, size, certain=True, caveat=caveat)


def counted_from(
    unit: Unit, first: float | None, evaluated: Sequence[float], ended: int = 0
) -> Unit:
    """The same unit for a log that numbers epochs one off, or calls the middle of the first 1.5.

    Args:
        unit: What the log counts in.
        first: The number of the first epoch that began.
        evaluated: `epoch_num` of the evaluations in their order.
        ended: Epochs that ended in the log before the first evaluation.
    """
    if unit.in_a_sample is not None or not evaluated:
        return unit
    if ended and abs(evaluated[0] - ended) == 1:
        return replace(unit, base=evaluated[0] - ended)
    if first is None or first < 1 or len(evaluated) < 2:
        return unit
    interval = evaluated[1] - evaluated[0]
    begins = evaluated[0] - first
    if not (0 < interval < 1 and math.isclose(begins, interval, rel_tol=0.1)):
        return unit
    return replace(unit, base=first)


def without_epoch(unit: Unit, trained: float | None, batch: int | None) -> Unit:
    """The same unit without the size of an epoch, if that is only what was trained.

    Where samples are counted no run sees all of them. Some logs then have as `train_samples` what
    was trained, which is no epoch.
    """
    if unit.in_a_sample is None or unit.epoch is None:
        return unit
    if trained is None or unit.epoch <= trained + (batch or 0):
        return replace(unit, epoch=None)
    return unit


def tokens_in_a_sample(benchmark: str, max_sequence_length: int | None) -> int | None:
    """Length of the packed sequences of a language benchmark; None where lengths differ."""
    return (max_sequence_length or _TOKENS[benchmark]) if benchmark in _TOKENS else None
