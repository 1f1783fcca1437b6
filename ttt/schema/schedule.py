"""The learning rate over time: settings, their rules, and what an MLPerf log says of them.

Keys of the log are without the optimizer's name, which some optimizers put before them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ttt.errors import fault
from ttt.schema.derived import steps
from ttt.schema.rules import not_positive

Keys = dict[str, Any]  # of the log, with their values
# Keys by which an optimizer knows the schedule: MLPerf names some pairs of them in their own way.
WARMUP_EPOCHS = "opt_learning_rate_warmup_epochs"
POLYNOMIAL = "opt_learning_rate_decay_poly_power"
STAIRS = "opt_learning_rate_decay_factor"


@dataclass
class ScheduleConfig:
    """Learning rate over time; see `ttt.optim.schedules`."""

    _target_: str = ""
    epochs: float = "${target.max_epochs}"  # type: ignore[assignment]  # where the decay ends
    warmup_epochs: float = 0.0
    end_lr: float = 0.0

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        if 0 < self.epochs < math.inf and not 0 <= self.warmup_epochs < self.epochs:
            allowed = f"0 to below schedule.epochs={self.epochs:g}"
            epochs = float(self.warmup_epochs)
            yield fault("schedule.warmup_epochs", epochs, allowed=allowed, typed="0")

    def logged(self, data: Any) -> Keys:
        """Keys of the log and their values; `data` is the data set's settings."""
        return {"opt_end_learning_rate": self.end_lr, WARMUP_EPOCHS: self.warmup_epochs}


@dataclass
class PolynomialConfig(ScheduleConfig):
    """Linear warm-up, polynomial decay."""

    _target_: str = "ttt.optim.schedules.Polynomial"
    power: float = 2.0  # of the decay; 1 is a straight line

    def logged(self, data: Any) -> Keys:
        """Keys of the log and their values; `data` is the data set's settings.

        The reference counts the steps of the decay from the end of the warm-up, submissions count
        them from the beginning of training. The rules say "num_epochs", which is the latter.
        """
        samples, batch = (getattr(data, name, None) for name in ("train_samples", "global_batch"))
        return {
            "opt_end_learning_rate": self.end_lr,
            POLYNOMIAL: self.power,
            "opt_learning_rate_decay_steps": steps(self.epochs, samples, batch or 1),
            WARMUP_EPOCHS: self.warmup_epochs,
        }


@dataclass
class CosineConfig(ScheduleConfig):
    """Linear warm-up, half a cosine down."""

    _target_: str = "ttt.optim.schedules.Cosine"


@dataclass
class OneCycleConfig(ScheduleConfig):
    """A straight line up, a straight line down."""

    _target_: str = "ttt.optim.schedules.OneCycle"


@dataclass
class ConstantConfig:
    """One rate for ever; see `ttt.optim.schedules`."""

    _target_: str = "ttt.optim.schedules.Constant"

    def logged(self, data: Any) -> Keys:
        """Nothing: the rate is the optimizer's."""
        return {}


@dataclass
class InverseSqrtConfig:
    """A line up, then down with the root of time; see `ttt.optim.schedules_text.InverseSqrt`."""

    _target_: str = "ttt.optim.schedules_text.InverseSqrt"
    warmup_steps: int = 4000  # updates until the peak; 0: the first has it

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        if self.warmup_steps < 0:
            yield _below_zero("warmup_steps", self.warmup_steps)

    def logged(self, data: Any) -> Keys:
        """Keys of the log and their values; `data` is the data set's settings."""
        return {"opt_learning_rate_warmup_steps": self.warmup_steps}


@dataclass
class WarmupCosineConfig:
    """A line up, half a cosine down; see `ttt.optim.schedules_steps.WarmupCosine`."""

    _target_: str = "ttt.optim.schedules_steps.WarmupCosine"
    warmup_steps: int = 0  # updates until the peak; the one after them has it
    max_steps: int = 1000  # updates until the end rate
    end_lr: float = "${share:0.1,${optim.lr}}"  # type: ignore[assignment]

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        if self.warmup_steps < 0:
            yield _below_zero("warmup_steps", self.warmup_steps)
        if self.max_steps <= max(0, self.warmup_steps):
            allowed = f"above schedule.warmup_steps={self.warmup_steps}"
            typed = str(max(0, self.warmup_steps) + 1)
            yield fault("schedule.max_steps", self.max_steps, allowed=allowed, typed=typed)

    def logged(self, data: Any) -> Keys:
        """Keys of the log and their values; `data` is the data set's settings.

        The official checker computes with the steps of the warm-up when it comes to those of the
        decay: it must have read them before.
        """
        return {
            "opt_end_learning_rate": self.end_lr,
            "opt_learning_rate_warmup_steps": self.warmup_steps,
            "opt_learning_rate_decay_steps": self.max_steps - self.warmup_steps,
            "opt_learning_rate_decay_schedule": "cosine with linear warmup",
            "max_steps": self.max_steps,
        }


@dataclass
class PolynomialStepsConfig:
    """A line up, a polynomial down to 0; see `ttt.optim.schedules_steps.PolynomialSteps`."""

    _target_: str = "ttt.optim.schedules_steps.PolynomialSteps"
    training_steps: int = 13700  # updates until the rate is 0
    warmup_steps: int = 0
    start_warmup_step: int = 0  # 0 or before the run: the first update has a rate above 0 then
    power: float = 1.0  # of the decay; 1 is a straight line

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        yield from not_positive("schedule", self, "training_steps power")
        if self.warmup_steps < 0:
            yield _below_zero("warmup_steps", self.warmup_steps)
        if self.start_warmup_step > 0:
            why = "would give rates below 0"
            start = self.start_warmup_step
            yield fault("schedule.start_warmup_step", start, why, allowed="0 or less", typed="0")

    def logged(self, data: Any) -> Keys:
        """Keys of the log and their values; `data` is the data set's settings."""
        return {
            "opt_learning_rate_training_steps": self.training_steps,
            "opt_learning_rate_warmup_steps": self.warmup_steps,
            "num_warmup_steps": self.warmup_steps,
            "start_warmup_step": self.start_warmup_step,
            "opt_lamb_learning_rate_decay_poly_power": self.power,
        }


@dataclass
class GnmtScheduleConfig:
    """An exponential up, a plateau, stairs down; see `ttt.optim.schedules_text.Gnmt`.

    The defaults are those of NVIDIA's v0.7 entry on a DGX A100 (global batch 3,072, base 2.875e-3).
    """

    _target_: str = "ttt.optim.schedules_text.Gnmt"
    warmup_steps: int = 200
    remain_steps: int = 4054  # updates before the first stair
    decay_interval: int = 506  # updates on each stair
    decay_steps: int = 4  # stairs
    decay_factor: float = 0.5  # of a stair to the one before

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        yield from not_positive("schedule", self, "decay_interval decay_factor")
        for name in ("warmup_steps", "decay_steps"):
            if getattr(self, name) < 0:
                yield _below_zero(name, getattr(self, name))
        if self.remain_steps < self.warmup_steps:
            why = "is before the end of the warm-up"
            allowed = f"schedule.warmup_steps={self.warmup_steps} or more"
            typed = str(self.warmup_steps)
            remain = self.remain_steps
            yield fault("schedule.remain_steps", remain, why, allowed=allowed, typed=typed)

    def logged(self, data: Any) -> Keys:
        """Keys of the log and their values; `data` is the data set's settings."""
        return {
            "opt_learning_rate_alt_decay_func": True,
            "opt_learning_rate_alt_warmup_func": True,
            "opt_learning_rate_warmup_steps": self.warmup_steps,
            "opt_learning_rate_remain_steps": self.remain_steps,
            "opt_learning_rate_decay_interval": self.decay_interval,
            "opt_learning_rate_decay_steps": self.decay_steps,
            STAIRS: self.decay_factor,
        }


def _below_zero(name: str, value: int) -> str:
    return fault(f"schedule.{name}", value, allowed="0 or more", typed="0")
