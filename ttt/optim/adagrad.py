"""Adagrad as recommendation benchmarks use it, for tables updated in part as for dense weights.

Every weight has a rate of its own that falls with the squares of its gradients so far (Duchi, Hazan
and Singer 2011, JMLR 12, algorithm 1 with a diagonal matrix). The update is torch.optim.Adagrad's.
"""

from __future__ import annotations

import torch
from torch import nn

from ttt.errors import ConfigError


def build(
    model: nn.Module,
    *,
    lr: float,
    epsilon: float,
    initial_accumulator_value: float,
    lr_decay: float,
    weight_decay: float,
) -> torch.optim.Adagrad:
    """Build Adagrad over a model's trained parameters.

    With g the gradient of a weight w and s the sum of its squares, which begins at
    `initial_accumulator_value`:

        s = s + g^2
        w = w - lr / (1 + updates * lr_decay) * g / (sqrt(s) + epsilon)

    Where a module's gradients are sparse (its `sparse` is true, as torch.nn.EmbeddingBag names it)
    only the rows of the batch are touched. Gradients of a row that occurs more than once are added
    up before they are squared, so that it is the dense update to the last bits: a row without a
    gradient does not move in either.

    Args:
        model: Already on its device.
        lr: First learning rate; a schedule may replace it before every step.
        epsilon: Added to the root; `opt_adagrad_epsilon`.
        initial_accumulator_value: `opt_adagrad_initial_accumulator_value`.
        lr_decay: `opt_adagrad_learning_rate_decay`.
        weight_decay: L2 coefficient, `opt_weight_decay`.

    Returns:
        The optimizer.

    Raises:
        ConfigError: Weights that only move when they are looked up cannot all decay.
    """
    looked_up = _looked_up(model)
    if looked_up and weight_decay:
        raise ConfigError(
            [
                f"optim.weight_decay={weight_decay:g} cannot be used with tables of which a step"
                " touches few rows; allowed: 0; optim.weight_decay=0, or model.sharding=off"
            ]
        )
    if looked_up:  # torch else warns, once, that it does not verify the gradients it made itself
        torch.sparse.check_sparse_tensor_invariants.disable()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Apart, because a group with one sparse gradient is updated tensor by tensor.
    groups = [
        {"params": [p for p in trained if id(p) not in looked_up], "foreach": True},
        {"params": [p for p in trained if id(p) in looked_up], "foreach": False},
    ]
    return torch.optim.Adagrad(
        [group for group in groups if group["params"]],
        lr=lr,
        lr_decay=lr_decay,
        weight_decay=weight_decay,
        initial_accumulator_value=initial_accumulator_value,
        eps=epsilon,
    )


def _looked_up(model: nn.Module) -> set[int]:
    """Ids of the parameters whose gradients are sparse."""
    return {
        id(parameter)
        for module in model.modules()
        if getattr(module, "sparse", False)
        for parameter in module.parameters(recurse=False)
    }
