"""LARS, the optimizer of MLPerf's large-batch ResNet-50, as tensor operations over all parameters.

Every weight tensor moves in proportion to its own norm: a rate that suits one layer of a batch of
tens of thousands would destroy another (You, Gitman and Ginsburg 2017, arXiv:1708.03888). No value
is read back to the host, with or without a GradScaler.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ttt.optim.scaled import Scaled, adapting_groups, replace, subtract


class LARS(Scaled):
    """Momentum SGD with a trust ratio for each tensor: the form of the MLPerf reference.

    For a weight w with gradient g, in a group that adapts:

        trust = eeta * ||w|| / (||g|| + weight_decay * ||w|| + epsilon), 1 where a norm is 0
        v     = momentum * v + lr * trust * (g + weight_decay * w)
        w     = w - v

    The rate is inside the velocity v, as in the reference (mlcommons/training,
    image_classification/tensorflow2/lars_optimizer.py): when a schedule lowers it, past gradients
    keep the rate of their time. v starts at 0. Groups with `adapt=False` use trust = 1. An epsilon
    of 0 is 0 here; the reference puts Keras's 1e-7 in its place.

    Under `torch.amp.GradScaler` gradients are unscaled on the device, and an overflow leaves
    weights and velocities untouched without the host learning of it.

    Args:
        params: Parameters or groups; a group may set every key below and `adapt`.
        lr: First learning rate; a schedule may replace it before every step.
        momentum: Weight of the velocity.
        weight_decay: L2 coefficient.
        eeta: Trust coefficient; the closed division's spelling.
        epsilon: Added to the trust ratio's denominator.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 5e-5,
        eeta: float = 0.001,
        epsilon: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "eeta": eeta,
            "epsilon": epsilon,
            "adapt": True,
        }
        super().__init__(params, defaults)

    def _update(self, weights: list[Tensor], group: dict[str, Any], skip: Tensor | None) -> None:
        """One group's update by the class's formula."""
        grads = self._unscaled([w.grad for w in weights if w.grad is not None])
        velocities = [self._velocity(w) for w in weights]
        steps = torch._foreach_add(grads, weights, alpha=group["weight_decay"])
        if group["adapt"]:
            torch._foreach_mul_(steps, _trust(weights, grads, group))
        torch._foreach_mul_(steps, group["lr"])
        torch._foreach_add_(steps, velocities, alpha=group["momentum"])
        replace(skip, velocities, steps)
        subtract(skip, weights, steps)

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "velocity" not in state:
            state["velocity"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
        velocity: Tensor = state["velocity"]
        return velocity


def _trust(weights: list[Tensor], grads: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """The trust ratio of each tensor, as scalars on its device."""
    weight_norms = torch.stack(torch._foreach_norm(weights))
    grad_norms = torch.stack(torch._foreach_norm(grads))
    denominators = grad_norms + group["weight_decay"] * weight_norms + group["epsilon"]
    known = (weight_norms > 0) & (grad_norms > 0)
    ratios = torch.where(known, group["eeta"] * weight_norms / denominators, 1.0)
    return list(ratios.unbind())


def build(
    model: nn.Module,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 5e-5,
    eeta: float = 0.001,
    epsilon: float = 0.0,
) -> LARS:
    """Build LARS over a model's trained parameters; norms and biases neither adapt nor decay.

    Args:
        model: Already on its device.
        lr: First learning rate (`lars_opt_base_learning_rate`).
        momentum: Weight of the velocity (`lars_opt_momentum`).
        weight_decay: L2 coefficient, of weights only (`lars_opt_weight_decay`).
        eeta: Trust coefficient.
        epsilon: Added to the trust ratio's denominator (`lars_epsilon`); 0 in the closed division.

    Returns:
        The optimizer.
    """
    groups = adapting_groups(model, weight_decay)
    return LARS(
        groups, lr=lr, momentum=momentum, weight_decay=weight_decay, eeta=eeta, epsilon=epsilon
    )
