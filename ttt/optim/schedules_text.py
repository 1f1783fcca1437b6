"""Learning rates of translation benchmarks, which are planned in updates rather than in epochs.

As in `ttt.optim.schedules`, a schedule is a pure function: called with the number of updates
already made, it gives the rate of the update about to be made. `steps_per_epoch` is taken because
every schedule is given it, and read by none here: data that fill batches with words know it late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class InverseSqrt:
    """A line up to the base rate, then a decay with the square root of the update's number.

    For the n-th update, n = step + 1, with w warm-up updates: base_lr * min(n / w, sqrt(w / n)).
    That is Vaswani et al. 2017, arXiv:1706.03762, equation 3, named by its peak as in fairseq. The
    paper's factor d ** -0.5 * min(n ** -0.5, n * w ** -1.5) for width d has its peak at
    base_lr = (d * w) ** -0.5; MLPerf's reference (learning_rate 2.0, d = 1,024, w = 16,000) at
    twice that, 4.94e-4.

    Attributes:
        base_lr: Rate of the update that completes the warm-up, the highest.
        warmup_steps: Updates of warm-up (`opt_learning_rate_warmup_steps`); with 0 as with 1, the
            first update has the base rate.
        steps_per_epoch: Unused.
    """

    base_lr: float
    warmup_steps: int
    steps_per_epoch: float | None = None

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        number, warmup = step + 1, max(1, self.warmup_steps)
        return self.base_lr * min(number / warmup, math.sqrt(warmup / number))


@dataclass(frozen=True, kw_only=True)
class Gnmt:
    """An exponential up from a hundredth of the base rate, a plateau, then stairs down.

    The schedule of MLPerf's reference (mlcommons/training, rnn_translator/pytorch,
    seq2seq/train/lr_scheduler.py), with the updates already made as its iteration: the first update
    has base_lr / 100, and `warmup_steps` later the rate is base_lr. From iteration `remain_steps`
    on it is multiplied by `decay_factor`, at once and after every `decay_interval`, `decay_steps`
    times in all.

    Attributes:
        base_lr: Rate of the plateau (`opt_base_learning_rate`).
        warmup_steps: Updates below it (`opt_learning_rate_warmup_steps`); 0 for none.
        remain_steps: Updates before the first stair (`opt_learning_rate_remain_steps`).
        decay_interval: Updates on each stair (`opt_learning_rate_decay_interval`).
        decay_steps: Stairs (`opt_learning_rate_decay_steps`).
        decay_factor: Of a stair to the one before (`opt_learning_rate_decay_factor`).
        steps_per_epoch: Unused.
    """

    base_lr: float
    warmup_steps: int
    remain_steps: int
    decay_interval: int
    decay_steps: int
    decay_factor: float
    steps_per_epoch: float | None = None

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        if step < self.warmup_steps:
            return self.base_lr * math.pow(0.01, 1 - step / self.warmup_steps)
        stairs = (step - self.remain_steps) // self.decay_interval + 1
        share: float = self.decay_factor ** min(max(stairs, 0), self.decay_steps)
        return self.base_lr * share
