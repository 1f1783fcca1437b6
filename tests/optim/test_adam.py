"""Adam against its formula, and which parameters it moves how."""

import numpy as np
import pytest
import torch
from torch import nn

from ttt.optim import adam

SETTINGS = {"beta_1": 0.9, "beta_2": 0.98, "epsilon": 1e-9}


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4), nn.Linear(4, 5))


def numpy_adam(weight, grads, rates, *, decay, beta_1, beta_2, epsilon):
    """Kingma and Ba 2014, algorithm 1, in float64; decay as a gradient."""
    w = weight.astype(np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (grad, rate) in enumerate(zip(grads, rates, strict=True), start=1):
        g = grad + decay * w
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        w = w - rate * (m / (1 - beta_1**t)) / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
    return w


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_follows_its_formula_and_spares_norms_and_biases(decay):
    module, rates = model(), (0.1, 0.2, 0.05)
    rng = np.random.default_rng(0)
    parameters = list(module.parameters())
    grads = [[rng.normal(size=p.shape).astype(np.float32) for p in parameters] for _ in rates]
    expected = [
        numpy_adam(
            p.detach().numpy(),
            [step[index] for step in grads],
            rates,
            decay=decay if p.ndim > 1 else 0.0,
            **SETTINGS,
        )
        for index, p in enumerate(parameters)
    ]
    optimizer = adam.build(module, lr=1.0, weight_decay=decay, **SETTINGS)
    for rate, step in zip(rates, grads, strict=True):
        for parameter, grad in zip(parameters, step, strict=True):
            parameter.grad = torch.from_numpy(grad.copy())
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    for parameter, right in zip(parameters, expected, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), right, rtol=2e-5, atol=1e-6)


@pytest.mark.gpu
def test_adam_does_not_wait_for_the_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    module = model().cuda()
    optimizer = adam.build(module, lr=0.1, **SETTINGS)
    scaler = torch.amp.GradScaler("cuda")
    for step in range(2):
        scaler.scale(module[2].weight.square().sum()).backward()
        torch.cuda.set_sync_debug_mode("error" if step else "default")
        try:
            scaler.step(optimizer)
            scaler.update()
        finally:
            torch.cuda.set_sync_debug_mode("default")
