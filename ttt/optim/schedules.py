"""Learning rates as pure functions of the update's number.

A schedule is called with `step`, the number of updates already made (0 before the first), and gives
the rate of the update about to be made. It knows nothing of optimizers. A plan is written in epochs
and read at t = (step + 1) / steps_per_epoch, the epochs done *after* that update. So a warm-up from
0 never wastes its first update on a rate of 0. The update that completes the warm-up has exactly
the base rate. The one that completes the plan has exactly the end rate, and the rate stays there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ttt.errors import ConfigError, fault


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The numbers every schedule has.

    Attributes:
        base_lr: Rate when the warm-up is complete, the highest.
        steps_per_epoch: Updates in one pass over the training set; need not be whole.
        epochs: Epochs, warm-up included, after which the rate has reached `end_lr`.
        warmup_epochs: Epochs of linear warm-up; with 0 the decay begins from `base_lr` at once.
        warmup_start_lr: Where the warm-up's line begins, at t = 0.
        end_lr: Rate at the end of the plan and ever after.
    """

    base_lr: float
    steps_per_epoch: float
    epochs: float
    warmup_epochs: float = 0.0
    warmup_start_lr: float = 0.0
    end_lr: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.warmup_epochs < self.epochs:
            allowed = f"0 to below schedule.epochs={self.epochs:g}"
            warmup = self.warmup_epochs
            raise ConfigError([fault("schedule.warmup_epochs", warmup, allowed=allowed, typed="0")])


def _rate(plan: _Plan, step: int, fall: Callable[[float], float]) -> float:
    """The warm-up's line, then a mixture of both rates by `fall(share of the decay done)`."""
    t = (step + 1) / plan.steps_per_epoch
    if t < plan.warmup_epochs:
        share = t / plan.warmup_epochs
        return plan.warmup_start_lr * (1.0 - share) + plan.base_lr * share
    done = min((t - plan.warmup_epochs) / (plan.epochs - plan.warmup_epochs), 1.0)
    left = fall(done)
    return plan.base_lr * left + plan.end_lr * (1.0 - left)


@dataclass(frozen=True, kw_only=True)
class Polynomial(_Plan):
    """Linear warm-up, then polynomial decay: MLPerf ResNet-50's rule for both SGD and LARS.

    With s = share of the decay steps done, counted after the warm-up (decay_steps = (epochs -
    warmup_epochs) * steps_per_epoch): end_lr + (base_lr - end_lr) * (1 - s) ** power. Source:
    mlcommons/training_policies, training_rules.adoc, ResNet hyperparameters `opt_*_decay_steps`,
    `opt_*_decay_poly_power` (2) and `opt_end_learning_rate` (0.0001).
    """

    power: float = 2.0

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        return _rate(self, step, lambda s: (1.0 - s) ** self.power)


@dataclass(frozen=True, kw_only=True)
class Cosine(_Plan):
    """Linear warm-up, then half a cosine (Loshchilov and Hutter 2016, arXiv:1608.03983, eq. 5)."""

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        return _rate(self, step, lambda s: 0.5 * (1.0 + math.cos(math.pi * s)))


@dataclass(frozen=True, kw_only=True)
class OneCycle(_Plan):
    """A line up to `base_lr` at `warmup_epochs`, a line down to `end_lr` at `epochs`.

    The triangle of Smith and Topin 2017, arXiv:1708.07120, without their last leg and with constant
    momentum, as short CIFAR-10 records use it.
    """

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        return _rate(self, step, lambda s: 1.0 - s)


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The base rate for ever, as DLRM-DCNv2's reference has it: no warm-up, no decay.

    Attributes:
        base_lr: The rate.
        steps_per_epoch: Unused; every schedule is given it.
    """

    base_lr: float
    steps_per_epoch: float | None = None

    def __call__(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        return self.base_lr
