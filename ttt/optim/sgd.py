"""Stochastic gradient descent as benchmarks use it: weight decay where it belongs, fused on a GPU.

The update is torch.optim.SGD's; this file only sorts parameters into groups.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def decay_groups(
    model: nn.Module, *, weight_decay: float, decay_norm_and_bias: bool
) -> list[dict[str, Any]]:
    """Sort parameters into one group that decays and one that does not.

    Norm scales, norm shifts and biases are the parameters of at most one dimension. They do not
    multiply activations of growing size, so that decay only biases them (He et al. 2018,
    arXiv:1812.01187, section 3.1, "no bias decay").

    Args:
        model: Its parameters that require gradients are sorted, in order.
        weight_decay: L2 coefficient of the first group.
        decay_norm_and_bias: Put every parameter into the first group.

    Returns:
        Groups for a torch.optim.Optimizer; a group without parameters is left out.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if decay_norm_and_bias or p.ndim > 1]
    kept = [p for p in trained if not decay_norm_and_bias and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def kernels(groups: list[dict[str, Any]]) -> dict[str, bool]:
    """Settings of a torch.optim optimizer: fused where all parameters are on a GPU, else foreach.

    A fused kernel is one launch for all parameters. Under a GradScaler it reads the scale and the
    overflow flag on the device. Every other optimizer of torch makes the host wait for that flag in
    each step (`GradScaler._maybe_opt_step`).
    """
    on_gpu = all(p.is_cuda for group in groups for p in group["params"])
    return {"fused": on_gpu, "foreach": not on_gpu}


def build(
    model: nn.Module,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    decay_norm_and_bias: bool = False,
) -> torch.optim.SGD:
    """Build SGD over a model's trained parameters.

    The velocities are made here, as zeros. torch's fused SGD makes them in its first step, without
    values (`torch.empty_like` in `torch.optim.sgd._fused_sgd`), and the kernel returns before it
    writes them if that step overflows. The next step would then add up old contents of the memory.
    A velocity of 0 gives the same first step.

    Args:
        model: Already on its device.
        lr: First learning rate; a schedule may replace it before every step.
        momentum: Weight of the running sum of gradients, 0 for none.
        nesterov: Look ahead along the momentum.
        weight_decay: L2 coefficient.
        decay_norm_and_bias: Also decay norms and biases.

    Returns:
        The optimizer.
    """
    groups = decay_groups(model, weight_decay=weight_decay, decay_norm_and_bias=decay_norm_and_bias)
    optimizer = torch.optim.SGD(
        groups, lr=lr, momentum=momentum, nesterov=nesterov, **kernels(groups)
    )
    if momentum:
        for weight in (p for group in groups for p in group["params"]):
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
    return optimizer
