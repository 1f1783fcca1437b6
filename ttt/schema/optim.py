"""Optimizers: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class SgdConfig:
    """Stochastic gradient descent; see `ttt.optim.sgd`."""

    _target_: str = "ttt.optim.sgd.build"
    name: str = "sgd"  # as logs say it
    lr: float = 0.1  # peak
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 0.0
    decay_norm_and_bias: bool = False

    def problems(self) -> Iterator[str]:
        """What is wrong with the optimizer."""
        if self.nesterov and self.momentum == 0:
            yield (
                "optim.nesterov=true looks ahead along the momentum, and optim.momentum=0;"
                " optim.nesterov=false"
            )


@dataclass
class LarsConfig:
    """Layer-wise adaptive rates; see `ttt.optim.lars`."""

    _target_: str = "ttt.optim.lars.build"
    name: str = "lars"  # as logs say it
    lr: float = 1.0  # peak
    momentum: float = 0.9
    weight_decay: float = 0.0
    eeta: float = 0.001
    epsilon: float = 0.0


@dataclass
class AdamConfig:
    """Adam; see `ttt.optim.adam`."""

    _target_: str = "ttt.optim.adam.build"
    name: str = "adam"  # as logs say it
    lr: float = 0.001  # peak
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1.0e-8
    weight_decay: float = 0.0


@dataclass
class AdagradConfig:
    """Rates that fall with past gradients; see `ttt.optim.adagrad`."""

    _target_: str = "ttt.optim.adagrad.build"
    name: str = "adagrad"  # as logs say it
    lr: float = 0.005
    epsilon: float = 1e-8
    initial_accumulator_value: float = 0.0
    lr_decay: float = 0.0
    weight_decay: float = 0.0
