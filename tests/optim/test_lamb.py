"""LAMB against hand numbers and its formulas a tensor at a time, saved, and under a GradScaler."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from ttt.optim import lamb
from ttt.optim.schedules_steps import PolynomialSteps
from ttt.schema.optim import LambConfig
from ttt.schema.schedule import PolynomialStepsConfig

RATES = (0.02, 0.05, 0.01)


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Embedding(7, 4), nn.LayerNorm(4), nn.Linear(4, 5))


def gradients(module: nn.Module, seed: int = 0) -> list[list[np.ndarray]]:
    random = np.random.default_rng(seed)
    return [[random.normal(size=p.shape) for p in module.parameters()] for _ in RATES]


def advance(module, optimizer, grads, rates) -> None:
    for step_grads, rate in zip(grads, rates, strict=True):
        for weight, grad in zip(module.parameters(), step_grads, strict=True):
            weight.grad = torch.tensor(grad, dtype=torch.float32)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()


def plain(weight, grads, rates):
    """You et al. 2019, algorithm 2, of one tensor in float64; one dimension: plain Adam."""
    w = weight.astype(np.float64)
    m, v = np.zeros_like(w), np.zeros_like(w)
    for t, (g, rate) in enumerate(zip(grads, rates, strict=True), start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-6)
        if w.ndim > 1:
            step = step + 0.01 * w
            step = step * math.sqrt((w**2).sum()) / math.sqrt((step**2).sum())
        w = w - rate * step
    return w


def test_first_update_by_hand():
    """Bias correction makes the first direction the sign; its length is lr times the norm of w."""
    weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[0.5, 0.5]])
    lamb.LAMB([weight], lr=0.1, epsilon=0.0, weight_decay=0.0).step()
    # direction (1, 1), norm sqrt(2); ||w|| = 5: each falls by 0.1 * 5 / sqrt(2)
    expected = torch.tensor([[3.0, 4.0]]) - 0.1 * 5 / math.sqrt(2)
    torch.testing.assert_close(weight.detach(), expected)


def test_equals_the_plain_form():
    module = model()
    start = [p.detach().numpy().copy() for p in module.parameters()]
    grads = gradients(module)
    advance(module, lamb.build(module, lr=1.0), grads, RATES)
    for number, weight in enumerate(module.parameters()):
        expected = plain(start[number], [each[number] for each in grads], RATES)
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=3e-6, atol=1e-6)


def test_a_weight_of_zeros_moves_as_without_adaptation():
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.ones(2, 2)
    lamb.LAMB([weight], lr=0.1, epsilon=0.0).step()
    torch.testing.assert_close(weight.detach(), torch.full((2, 2), -0.1))


def test_goes_on_from_a_saved_state_exactly():
    module = model()
    optimizer = lamb.build(module, lr=1.0)
    first, *rest = gradients(module)
    advance(module, optimizer, [first], RATES[:1])
    other = copy.deepcopy(module)
    resumed = lamb.build(other, lr=1.0)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    advance(module, optimizer, rest, RATES[1:])
    advance(other, resumed, rest, RATES[1:])
    for one, two in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("overflow", [False, True])
def test_under_a_scaler(overflow):
    """Unscaled on the device; an overflow changes nothing, the count of updates included."""
    module, twin = model(), model()
    optimizer, expected = lamb.build(module, lr=1.0), lamb.build(twin, lr=1.0)
    grads = gradients(module)
    advance(twin, expected, grads[1:] if overflow else grads, RATES[1:] if overflow else RATES)
    for number, (step_grads, rate) in enumerate(zip(grads, RATES, strict=True)):
        scaled = [grad * 4 for grad in step_grads]
        optimizer.grad_scale = torch.tensor(4.0)
        bad = overflow and number == 0
        optimizer.found_inf = torch.tensor([float(bad)])
        if bad:
            scaled[0] = scaled[0] * np.inf
        advance(module, optimizer, [scaled], [rate])
    for one, two in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


def test_rates_of_the_reference():
    rate = PolynomialSteps(base_lr=4.0, training_steps=10, warmup_steps=2, start_warmup_step=0)
    expected = [0.0, 2.0, 3.2, 2.8]
    assert [rate(step) for step in range(4)] == pytest.approx(expected)
    assert rate(10) == rate(99) == 0.0
    early = PolynomialSteps(base_lr=4.0, training_steps=10, warmup_steps=4, start_warmup_step=-3)
    assert [early(step) for step in range(2)] == pytest.approx([3.0, 3.6])
    assert PolynomialSteps(base_lr=4.0, training_steps=10)(0) == 4.0


def test_settings_that_cannot_be():
    assert "start_warmup_step" in next(PolynomialStepsConfig(start_warmup_step=1).problems())
    assert "warmup_steps" in next(PolynomialStepsConfig(warmup_steps=-1).problems())


def test_keys_of_the_log():
    keys = LambConfig().logged(PolynomialStepsConfig(warmup_steps=3).logged(None))
    assert keys["opt_learning_rate_warmup_steps"] == keys["num_warmup_steps"] == 3
    assert {"opt_base_learning_rate", "opt_lamb_epsilon", "start_warmup_step"} <= keys.keys()
