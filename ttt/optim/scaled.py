"""What ttt's own optimizers share: under a GradScaler the host never waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from ttt.optim.sgd import decay_groups


class Scaled(torch.optim.Optimizer):
    """An optimizer that reads the scale and the overflow flag of a GradScaler on the device.

    A subclass writes `_update`, which changes the weights of a group.
    """

    # GradScaler looks for this name: it then always calls step(), with `grad_scale` (None where
    # gradients are unscaled already) and `found_inf` set on the optimizer for that call only.
    _step_supports_amp_scaling = True

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; gradients themselves are left as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        skip = None if found_inf is None else found_inf.squeeze() > 0
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._update(weights, group, skip)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any], skip: Tensor | None) -> None:
        """Update the weights of a group, which all have gradients.

        Args:
            weights: The weights.
            group: Their settings.
            skip: Whether a gradient overflowed, so that nothing may change, as a scalar on the
                device; None without a GradScaler.
        """
        raise NotImplementedError

    def _unscaled(self, grads: list[Tensor]) -> list[Tensor]:
        """Gradients without the scale of a GradScaler."""
        scale: Tensor | None = getattr(self, "grad_scale", None)
        return grads if scale is None else list(torch._foreach_mul(grads, 1.0 / scale.squeeze()))


def unless(skip: Tensor | None, values: Tensor) -> Tensor:
    """The values, or zeros if the update is skipped: adding those changes nothing.

    A multiplication by 0 would not do: 0 * inf is NaN.
    """
    return values if skip is None else values.masked_fill(skip, 0.0)


def replace(skip: Tensor | None, old: Sequence[Tensor], new: Sequence[Tensor]) -> None:
    """Put new values in the place of old ones, unless the update is skipped."""
    in_parts = any(hasattr(one, "device_mesh") for one in old)  # torch copies these one by one
    if skip is None and not in_parts:
        torch._foreach_copy_(list(old), list(new))
        return
    for before, after in zip(old, new, strict=True):
        before.copy_(after if skip is None else torch.where(skip, before, after))


def subtract(skip: Tensor | None, weights: list[Tensor], steps: Sequence[Tensor]) -> None:
    """Take a step off each weight, unless the update is skipped."""
    torch._foreach_sub_(weights, [unless(skip, step) for step in steps])


def adapting_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The groups of `decay_groups`; `adapt` says that they have a trust ratio.

    Norms and biases have none, and do not decay.
    """
    groups = decay_groups(model, weight_decay=weight_decay, decay_norm_and_bias=False)
    for group in groups:
        group["adapt"] = group["params"][0].ndim > 1  # groups never mix the two kinds
    return groups
