"""Learning rates of BERT and Llama, planned in updates; see `ttt.optim.schedules`."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PolynomialSteps:
    """A line up, then a polynomial down to 0, both counted in updates from the run's first.

    For the update that follows k updates, with W warm-up updates and N in all:

        base_lr * (k - start_warmup_step) / W     while k - start_warmup_step < W
        base_lr * (1 - min(k, N) / N) ** power    from then on

    That is MLPerf's reference (mlcommons/training, retired_benchmarks/bert/optimization.py,
    `create_optimizer`): the decay does not wait for the warm-up, so the rate falls by W / N of the
    base when the warm-up ends. With a start of 0 the first update of a warm-up has a rate of 0;
    submissions begin it before the run, at a negative step.

    Attributes:
        base_lr: Rate of the decay's beginning (`opt_base_learning_rate`).
        training_steps: N (`opt_learning_rate_training_steps`).
        warmup_steps: W (`opt_learning_rate_warmup_steps`); 0 for none.
        start_warmup_step: Where the warm-up begins, at most 0 (`start_warmup_step`).
        power: Of the decay; 1 is a straight line.
        steps_per_epoch: Unused.
    """

    base_lr: float
    training_steps: int
    warmup_steps: int = 0
    start_warmup_step: int = 0
    power: float = 1.0
    steps_per_epoch: float | None = None

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        warm = step - self.start_warmup_step
        if warm < self.warmup_steps:
            return self.base_lr * warm / self.warmup_steps
        left = 1.0 - min(step, self.training_steps) / self.training_steps
        rate: float = self.base_lr * left**self.power
        return rate


@dataclass(frozen=True, kw_only=True)
class WarmupCosine:
    """A line up to the base rate, half a cosine down to the end rate, which then stays.

    With W warm-up updates of N in all, update k from 0 has base_lr * (k + 1) / (W + 1) up to k = W;
    then end_lr + (base_lr - end_lr) / 2 * (1 + cos(pi * (k - W) / (N - W))); from N on end_lr. That
    is NVIDIA NeMo's CosineAnnealing with constant_steps 0, by which MLPerf's llama31_8b is trained.

    Attributes:
        base_lr: Rate when the warm-up is complete, the highest.
        end_lr: Rate from update `max_steps` on.
        warmup_steps: Updates of warm-up, W (`opt_learning_rate_warmup_steps`).
        max_steps: Updates until the end rate, N; more than W.
        steps_per_epoch: Unused.
    """

    base_lr: float
    end_lr: float
    warmup_steps: int
    max_steps: int
    steps_per_epoch: float | None = None

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        warmup, last = self.warmup_steps, self.max_steps
        if step <= warmup:
            return self.base_lr * (step + 1) / (warmup + 1)
        if step >= last:
            return self.end_lr
        half = (self.base_lr - self.end_lr) / 2
        return self.end_lr + half * (1 + math.cos(math.pi * (step - warmup) / (last - warmup)))
