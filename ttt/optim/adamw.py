"""Adam with decoupled weight decay, as language models are trained with it, fused on a GPU."""

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
    weight_decay: float = 0.01,
) -> torch.optim.AdamW:
    """Build AdamW (Loshchilov and Hutter 2017, arXiv:1711.05101, algorithm 2) over a model.

    Args:
        model: Already on its device.
        lr: First learning rate; a schedule may replace it before every step.
        beta_1: Weight of the running mean of gradients (`opt_adamw_beta_1`).
        beta_2: Weight of the running mean of their squares (`opt_adamw_beta_2`).
        epsilon: Added to the root of that mean (`opt_adamw_epsilon`).
        weight_decay: Share of a weight that an update takes off, times the rate
            (`opt_adamw_weight_decay`); not of norms and biases, as Megatron-LM has it. Embeddings
            decay.

    Returns:
        The optimizer.
    """
    groups = decay_groups(model, weight_decay=weight_decay, decay_norm_and_bias=False)
    return torch.optim.AdamW(groups, lr=lr, betas=(beta_1, beta_2), eps=epsilon, **kernels(groups))
