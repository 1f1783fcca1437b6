"""The learning rate over time: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass

from ttt.schema.rules import not_positive


@dataclass
class ScheduleConfig:
    """Learning rate over time; see `ttt.optim.schedules`."""

    _target_: str = ""
    epochs: float = "${target.max_epochs}"  # type: ignore[assignment]  # where the decay ends
    warmup_epochs: float = 0.0
    end_lr: float = 0.0

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        if not 0 <= self.warmup_epochs < self.epochs:
            yield (
                f"schedule.warmup_epochs={self.warmup_epochs:g} is not allowed; allowed: 0 to below"
                f" schedule.epochs={self.epochs:g}; schedule.warmup_epochs=0"
            )


@dataclass
class PolynomialConfig(ScheduleConfig):
    """Linear warm-up, polynomial decay."""

    _target_: str = "ttt.optim.schedules.Polynomial"
    power: float = 2.0


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


@dataclass
class InverseSqrtConfig:
    """A line up, then down with the root of time; see `ttt.optim.schedules_text.InverseSqrt`."""

    _target_: str = "ttt.optim.schedules_text.InverseSqrt"
    warmup_steps: int = 4000  # updates until the peak; 0: the first has it

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        if self.warmup_steps < 0:
            yield _below_zero("warmup_steps", self.warmup_steps)


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
        yield from not_positive(
            "schedule",
            {"decay_interval": self.decay_interval, "decay_factor": self.decay_factor},
        )
        for name in ("warmup_steps", "decay_steps"):
            if getattr(self, name) < 0:
                yield _below_zero(name, getattr(self, name))
        if self.remain_steps < self.warmup_steps:
            yield (
                f"schedule.remain_steps={self.remain_steps} is before the end of the warm-up;"
                f" allowed: schedule.warmup_steps={self.warmup_steps} or more;"
                f" schedule.remain_steps={self.warmup_steps}"
            )


def _below_zero(name: str, value: int) -> str:
    return f"schedule.{name}={value} is not allowed; allowed: 0 or more; schedule.{name}=0"
