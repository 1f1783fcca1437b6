"""Learning rates of BERT, planned in updates; see `ttt.optim.schedules` for what a schedule is."""

from __future__ import annotations

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
