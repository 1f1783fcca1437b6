"""Optimizers: settings, their rules, and what an MLPerf log says of them.

`logged` takes what the log says of the schedule, because MLPerf names both together. The order is
that of MLPerf's tables of hyperparameters (training_rules.adoc, "Hyperparameters").
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ttt.errors import fault
from ttt.schema.bounds import NOT_ZERO, is_zero
from ttt.schema.schedule import POLYNOMIAL, STAIRS, WARMUP_EPOCHS

Keys = dict[str, Any]  # of the log, with their values


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
            why = "looks ahead along the momentum, and optim.momentum=0"
            yield fault("optim.nesterov", "true", why, typed="false")

    def logged(self, rate: Mapping[str, Any]) -> Keys:
        """Keys of the log and their values, with those of the schedule, `rate`."""
        name, base = {"opt_name": self.name}, {"opt_base_learning_rate": self.lr}
        decay = {"opt_weight_decay": self.weight_decay}
        if POLYNOMIAL not in rate:
            return name | base | dict(rate) | decay
        # That is ResNet-50, of whose SGD every key but the warm-up's begins with sgd_.
        warmup = {WARMUP_EPOCHS: rate[WARMUP_EPOCHS]}
        rest = {key: value for key, value in rate.items() if key not in warmup}
        return name | _begin("sgd_", base | rest | {"opt_momentum": self.momentum} | decay) | warmup


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

    def logged(self, rate: Mapping[str, Any]) -> Keys:
        """Keys of the log and their values, with those of the schedule, `rate`."""
        keys = {"opt_base_learning_rate": self.lr, **rate, "opt_momentum": self.momentum}
        keys |= {"opt_weight_decay": self.weight_decay}
        return {"opt_name": self.name} | _begin("lars_", keys) | {"lars_epsilon": self.epsilon}


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

    def problems(self) -> Iterator[str]:
        """What is wrong with the optimizer."""
        yield from _divides_by_zero(self.epsilon)

    def logged(self, rate: Mapping[str, Any]) -> Keys:
        """Keys of the log and their values, with those of the schedule, `rate`."""
        name = {"opt_name": self.name, "opt_base_learning_rate": self.lr}
        own = {
            "opt_adam_beta_1": self.beta_1,
            "opt_adam_beta_2": self.beta_2,
            "opt_adam_epsilon": self.epsilon,
        }
        # GNMT's table has the schedule after the optimizer, the Transformer's has it before.
        return name | own | dict(rate) if STAIRS in rate else name | dict(rate) | own


@dataclass
class AdamwConfig:
    """Adam with decoupled weight decay; see `ttt.optim.adamw`."""

    _target_: str = "ttt.optim.adamw.build"
    name: str = "adamw"  # as logs say it
    lr: float = 0.001  # peak
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1.0e-8
    weight_decay: float = 0.01

    def problems(self) -> Iterator[str]:
        """What is wrong with the optimizer."""
        yield from _divides_by_zero(self.epsilon)

    def logged(self, rate: Mapping[str, Any]) -> Keys:
        """Keys of the log and their values, with those of the schedule, `rate`."""
        own = {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "weight_decay": self.weight_decay,
        }
        name = {"opt_name": self.name, "opt_base_learning_rate": self.lr}
        return name | dict(rate) | _begin("opt_adamw_", own)


@dataclass
class LambConfig:
    """Adam with layer-wise rates; see `ttt.optim.lamb`. Defaults: MLPerf's BERT."""

    _target_: str = "ttt.optim.lamb.build"
    name: str = "lamb"  # as logs say it
    lr: float = 0.00035  # where the decay begins
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1.0e-6
    weight_decay: float = 0.01

    def problems(self) -> Iterator[str]:
        """What is wrong with the optimizer."""
        yield from _divides_by_zero(self.epsilon)

    def logged(self, rate: Mapping[str, Any]) -> Keys:
        """Keys of the log and their values, with those of the schedule, `rate`."""
        return {
            "opt_name": self.name,
            "opt_base_learning_rate": self.lr,
            "opt_lamb_epsilon": self.epsilon,
            **rate,
            "opt_lamb_beta_1": self.beta_1,
            "opt_lamb_beta_2": self.beta_2,
            "opt_lamb_weight_decay_rate": self.weight_decay,
        }


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

    def problems(self) -> Iterator[str]:
        """What is wrong with the optimizer."""
        if is_zero(self.initial_accumulator_value):
            yield from _divides_by_zero(self.epsilon)

    def logged(self, rate: Mapping[str, Any]) -> Keys:
        """Keys of the log and their values, with those of the schedule, `rate`."""
        return {
            "opt_name": self.name,
            "opt_base_learning_rate": self.lr,
            **rate,
            "opt_adagrad_epsilon": self.epsilon,
            "opt_adagrad_initial_accumulator_value": self.initial_accumulator_value,
            "opt_adagrad_learning_rate_decay": self.lr_decay,
            "opt_weight_decay": self.weight_decay,
        }


def _divides_by_zero(epsilon: float) -> Iterator[str]:
    """An optimizer that divides by a root of past gradients, which are 0 for a word not yet read.

    LARS may have an epsilon of 0: it does not divide where a norm is 0.
    """
    if is_zero(epsilon):
        why = "divides 0 by 0 where a weight has had no gradient yet"
        yield fault("optim.epsilon", float(epsilon), why, allowed=NOT_ZERO, typed="1e-8")


def _begin(prefix: str, keys: Mapping[str, Any]) -> Keys:
    return {f"{prefix}{key}": value for key, value in keys.items()}
