"""LAMB, the optimizer of MLPerf's BERT, as tensor operations over all parameters.

Adam's direction, with a step in proportion to each weight tensor's own norm (You et al. 2019,
arXiv:1904.00962, algorithm 2). The recipe is that of MLPerf's reference (lamb_optimizer_v1.py, with
bias correction), which excludes what is called LayerNorm or bias from decay and adaptation. No
value is read back to the host, with or without a GradScaler.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ttt.optim.scaled import Scaled, adapting_groups, replace, subtract


class LAMB(Scaled):
    """Adam with decoupled decay and a trust ratio for each tensor.

    For a weight w with gradient g, at its update number t from 1:

        m      = beta_1 * m + (1 - beta_1) * g
        v      = beta_2 * v + (1 - beta_2) * g * g
        update = (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon) + weight_decay * w
        trust  = ||w|| / ||update||, 1 where a norm is 0
        w      = w - lr * trust * update

    Groups with `adapt=False` use trust = 1. Gradients are clipped by their norm over all tensors
    before, which is the run's `clip_norm` (1.0 in MLPerf).

    Under `torch.amp.GradScaler` gradients are unscaled on the device, and an overflow leaves
    weights, moments and t untouched without the host learning of it.

    Args:
        params: Parameters or groups; a group may set every key below and `adapt`.
        lr: First learning rate; a schedule may replace it before every step.
        beta_1: Of the mean of gradients.
        beta_2: Of the mean of their squares.
        epsilon: Added to the root of that mean.
        weight_decay: Share of a weight that is added to its update.
    """

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        defaults = {
            "lr": lr,
            "beta_1": beta_1,
            "beta_2": beta_2,
            "epsilon": epsilon,
            "weight_decay": weight_decay,
            "adapt": True,
        }
        super().__init__(params, defaults)

    def _update(self, weights: list[Tensor], group: dict[str, Any], skip: Tensor | None) -> None:
        """One group's update by the class's formula."""
        grads = self._unscaled([w.grad for w in weights if w.grad is not None])
        states = [self._state(weight) for weight in weights]
        old = [[state[name] for state in states] for name in ("mean", "square", "updates")]
        beta_1, beta_2 = group["beta_1"], group["beta_2"]
        means = torch._foreach_mul(old[0], beta_1)
        torch._foreach_add_(means, grads, alpha=1 - beta_1)
        squares = torch._foreach_mul(old[1], beta_2)
        torch._foreach_addcmul_(squares, grads, grads, value=1 - beta_2)
        updates = torch._foreach_add(old[2], 1)
        # In double precision: 1 - 0.999 has four digits less than its terms.
        number = torch.stack(updates).double()
        steps = torch._foreach_mul(means, _each(1 / (1 - beta_1**number), means))
        roots = torch._foreach_mul(squares, _each(1 / (1 - beta_2**number), squares))
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["epsilon"])
        torch._foreach_div_(steps, roots)
        torch._foreach_add_(steps, weights, alpha=group["weight_decay"])
        if group["adapt"]:
            torch._foreach_mul_(steps, _trust(weights, steps))
        torch._foreach_mul_(steps, group["lr"])
        subtract(skip, weights, steps)
        for before, after in zip(old, (means, squares, updates), strict=True):
            replace(skip, before, after)

    def _state(self, weight: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[weight]
        if not state:
            for name in ("mean", "square"):
                state[name] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["updates"] = torch.zeros((), device=weight.device)
        return state


def _each(values: Tensor, like: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """A vector as scalars in the data type of other tensors."""
    return list(values.to(like[0].dtype).unbind())


def _trust(weights: list[Tensor], steps: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """The trust ratio of each tensor, as scalars on its device."""
    weight_norms = torch.stack(torch._foreach_norm(weights))
    step_norms = torch.stack(torch._foreach_norm(steps))
    known = (weight_norms > 0) & (step_norms > 0)
    return list(torch.where(known, weight_norms / step_norms, 1.0).unbind())


def build(
    model: nn.Module,
    *,
    lr: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-6,
    weight_decay: float = 0.01,
) -> LAMB:
    """Build LAMB over a model's trained parameters; norms and biases neither adapt nor decay.

    Args:
        model: Already on its device.
        lr: First learning rate (`opt_base_learning_rate`).
        beta_1: Of the mean of gradients (`opt_lamb_beta_1`).
        beta_2: Of the mean of their squares (`opt_lamb_beta_2`).
        epsilon: Added to the root of that mean (`opt_lamb_epsilon`).
        weight_decay: Of weights only (`opt_lamb_weight_decay_rate`).

    Returns:
        The optimizer.
    """
    groups = adapting_groups(model, weight_decay)
    return LAMB(
        groups, lr=lr, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, weight_decay=weight_decay
    )
