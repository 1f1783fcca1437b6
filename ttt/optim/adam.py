"""Adam as translation benchmarks use it, fused on a GPU.

MLPerf's `opt_name` may also be lazy_adam, TensorFlow's Adam that leaves rows of an embedding alone
when no word of the batch is theirs. There is none here: with the Transformer's tied embedding every
row gets a gradient from the softmax in every step, so that both are the same update.
"""

from __future__ import annotations

import torch
from torch import nn

from ttt.optim.sgd import decay_groups, kernels


def build(
    model: nn.Module,
    *,
    lr: float,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
) -> torch.optim.Adam:
    """Build Adam (Kingma and Ba 2014, arXiv:1412.6980, algorithm 1) over the trained parameters.

    Args:
        model: Already on its device.
        lr: First learning rate; a schedule may replace it before every step.
        beta_1: Weight of the running mean of gradients (`opt_adam_beta_1`).
        beta_2: Weight of the running mean of their squares (`opt_adam_beta_2`).
        epsilon: Added to the root of that mean (`opt_adam_epsilon`).
        weight_decay: L2 coefficient, added to gradients; not of norms and biases.

    Returns:
        The optimizer.
    """
    groups = decay_groups(model, weight_decay=weight_decay, decay_norm_and_bias=False)
    return torch.optim.Adam(groups, lr=lr, betas=(beta_1, beta_2), eps=epsilon, **kernels(groups))
