"""Adagrad as recommendation benchmarks use it, for tables updated in part as for dense weights.

Every weight has a rate of its own that falls with the squares of its gradients so far (Duchi, Hazan
and Singer 2011, JMLR 12, algorithm 1 with a diagonal matrix). The update is torch.optim.Adagrad's;
the way it is computed lets a GradScaler skip an update without the host waiting for the device.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import StateDict

from ttt.errors import ConfigError, fault
from ttt.optim.scaled import Scaled, unless


class Adagrad(Scaled, torch.optim.Adagrad):
    """torch.optim.Adagrad that reads the scale and the overflow flag of a GradScaler on the device.

    torch's own class does so only in its fused form, which has no kernel for sparse gradients and,
    in older versions of torch, none for CUDA. Without a GradScaler the update of
    fp32 weights is torch's to the last bit, but for sparse gradients with `lr_decay`, which differ
    by rounding. After an update that overflowed, weights, sums and step counts are as before.

    The state is torch's: `sum`, and `step`, which counts updates and is on the weight's device.

    Args:
        params: Parameters or groups.
        settings: Those of torch.optim.Adagrad, without `foreach`, `fused`, `maximize` and
            `differentiable`.
    """

    def __init__(self, params: Any, **settings: Any) -> None:
        super().__init__(params, **settings)
        for weight, state in self.state.items():
            state["step"] = torch.zeros((), device=weight.device)

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state; torch would leave `step` on the device of the state, a checkpoint's CPU."""
        super().load_state_dict(state_dict)
        for weight, state in self.state.items():
            state["step"] = torch.as_tensor(state["step"], dtype=torch.float32).to(weight.device)

    def _update(self, weights: list[Tensor], group: dict[str, Any], skip: Tensor | None) -> None:
        """Update the weights of a group.

        Where a gradient is sparse, the host waits for the number of its different rows.
        """
        dense = [p for p in weights if p.grad is not None and not p.grad.is_sparse]
        if dense:
            self._update_whole(dense, group, skip)
        for weight in weights:
            if weight.grad is not None and weight.grad.is_sparse:
                self._update_rows(weight, group, skip)

    def _update_whole(
        self, weights: list[Tensor], group: dict[str, Any], skip: Tensor | None
    ) -> None:
        """Update weights with dense gradients, all of them in each operation."""
        sums = [self.state[w]["sum"] for w in weights]
        steps = [self.state[w]["step"] for w in weights]
        grads = self._unscaled([w.grad for w in weights if w.grad is not None])
        if group["weight_decay"]:
            grads = list(torch._foreach_add(grads, weights, alpha=group["weight_decay"]))
        grads = [unless(skip, grad) for grad in grads]
        if skip is None:
            torch._foreach_add_(steps, 1)
        else:  # a list, because a single tensor is read by the host
            torch._foreach_add_(steps, [(~skip).float()] * len(steps))
        torch._foreach_addcmul_(sums, grads, grads, value=1)
        roots = torch._foreach_sqrt(sums)
        torch._foreach_add_(roots, group["eps"])
        if skip is not None:
            torch._foreach_add_(roots, [skip.float()] * len(roots))  # no division of 0 by 0
        changes = torch._foreach_mul(grads, _falling(steps, group))
        torch._foreach_addcdiv_(weights, changes, roots)

    def _update_rows(self, weight: Tensor, group: dict[str, Any], skip: Tensor | None) -> None:
        """Update the rows of one weight that its sparse gradient has."""
        assert weight.grad is not None
        state, grad = self.state[weight], weight.grad.coalesce()  # the square wants rows summed
        (values,) = self._unscaled([grad._values()])
        state["step"] += 1 if skip is None else (~skip).float()
        state["sum"].add_(_rows(grad, unless(skip, values.pow(2))))
        roots = state["sum"].sparse_mask(grad)._values().sqrt_().add_(group["eps"])
        changes, rate = unless(skip, values / roots), _falling([state["step"]], group)
        if isinstance(rate, float):
            weight.add_(_rows(grad, changes), alpha=rate)
        else:
            weight.add_(_rows(grad, changes * rate[0]))


def _falling(steps: list[Tensor], group: dict[str, Any]) -> float | list[Tensor]:
    """What the next change is multiplied by, below 0: one number, or one for each count of steps.

    A rate that depends on the count stays on the device. It is computed in fp64, as Python would.
    """
    if not group["lr_decay"]:
        return -float(group["lr"])
    done = (torch.stack(steps).double() - 1).clamp(min=0)  # a skipped first step is no step
    return list((-group["lr"] / (1 + done * group["lr_decay"])).float().unbind())


def _rows(like: Tensor, values: Tensor) -> Tensor:
    """A sparse tensor with the rows of another one."""
    return torch.sparse_coo_tensor(like._indices(), values, like.size())


def build(
    model: nn.Module,
    *,
    lr: float,
    epsilon: float,
    initial_accumulator_value: float,
    lr_decay: float,
    weight_decay: float,
) -> Adagrad:
    """Build Adagrad over a model's trained parameters.

    With g the gradient of a weight w and s the sum of its squares, which begins at
    `initial_accumulator_value`:

        s = s + g^2
        w = w - lr / (1 + updates * lr_decay) * g / (sqrt(s) + epsilon)

    Where a module's gradients are sparse (its `sparse` is true, as torch.nn.EmbeddingBag names it)
    only the rows of the batch are touched. Gradients of a row that occurs more than once are added
    up before they are squared. So it is the dense update to the last bits: a row without a gradient
    moves in neither.

    Args:
        model: Already on its device.
        lr: First learning rate; a schedule may replace it before every step.
        epsilon: Added to the root (`opt_adagrad_epsilon`).
        initial_accumulator_value: Where sums of squares begin
            (`opt_adagrad_initial_accumulator_value`).
        lr_decay: How fast the rate falls with the updates (`opt_adagrad_learning_rate_decay`).
        weight_decay: L2 coefficient, `opt_weight_decay`.

    Returns:
        The optimizer.

    Raises:
        ConfigError: Weights that only move when they are looked up cannot all decay.
    """
    looked_up = _has_looked_up(model)
    if looked_up and weight_decay:
        raise ConfigError(
            [
                fault(
                    "optim.weight_decay",
                    weight_decay,
                    "cannot be used with tables of which a step touches few rows",
                    allowed="0",
                    typed="optim.weight_decay=0, or model.sharding=off",
                )
            ]
        )
    if looked_up:  # torch else warns, once, that it does not verify the gradients it made itself
        torch.sparse.check_sparse_tensor_invariants.disable()
    return Adagrad(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
        eps=epsilon,
    )


def _has_looked_up(model: nn.Module) -> bool:
    """Whether any of the model's own tables gets sparse gradients."""
    return any(
        getattr(module, "sparse", False) and any(True for _ in module.parameters(recurse=False))
        for module in model.modules()
    )
