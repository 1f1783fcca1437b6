"""SGD and LARS against the formulas in numpy, and under a GradScaler."""

import numpy as np
import pytest
import torch
from torch import nn

from ttt.models.resnet_small import ResNetSmall
from ttt.optim import adagrad, lars, sgd

STEPS = 3


def model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5))


def gradients(module: nn.Module, seed: int = 0) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        [rng.normal(size=p.shape).astype(np.float32) for p in module.parameters()]
        for _ in range(STEPS)
    ]


def run(module, optimizer, grads, rates) -> list[np.ndarray]:
    for step_grads, rate in zip(grads, rates, strict=True):
        for parameter, grad in zip(module.parameters(), step_grads, strict=True):
            parameter.grad = torch.from_numpy(grad.copy())
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return [p.detach().numpy() for p in module.parameters()]


def numpy_lars(weights, grads, rates, *, momentum, decay, eeta, epsilon=0.0):
    """You et al. 2017, algorithm 1, with MLPerf's exclusions, a tensor at a time in float64."""
    result = []
    for index, weight in enumerate(weights):
        w = weight.astype(np.float64)
        v = np.zeros_like(w)
        for step_grads, rate in zip(grads, rates, strict=True):
            g = step_grads[index].astype(np.float64)
            trust = 1.0
            if w.ndim > 1:
                w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
                if w_norm > 0 and g_norm > 0:
                    trust = eeta * w_norm / (g_norm + decay * w_norm + epsilon)
                g = g + decay * w
            v = momentum * v + rate * trust * g
            w = w - v
        result.append(w)
    return result


def numpy_sgd(weights, grads, rates, *, momentum, decay, decay_all):
    """Sutskever et al. 2013's Nesterov momentum as PyTorch states it."""
    result = []
    for index, weight in enumerate(weights):
        w = weight.astype(np.float64)
        v = np.zeros_like(w)
        for step_grads, rate in zip(grads, rates, strict=True):
            g = step_grads[index] + (decay * w if decay_all or w.ndim > 1 else 0.0)
            v = momentum * v + g
            w = w - rate * (g + momentum * v)
        result.append(w)
    return result


def weights_of(module: nn.Module) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for p in module.parameters()]


def assert_same(actual, expected, rtol=2e-6):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)


RATES = (8.0, 12.0, 4.0)


@pytest.mark.parametrize(("epsilon", "decay"), [(0.0, 0.05), (0.1, 0.05), (0.0, 0.0)])
def test_lars_follows_its_formula_for_three_steps(epsilon, decay):
    module = model()
    grads = gradients(module)
    settings = {"momentum": 0.9, "eeta": 0.01, "epsilon": epsilon}
    expected = numpy_lars(weights_of(module), grads, RATES, decay=decay, **settings)
    optimizer = lars.build(module, lr=1.0, weight_decay=decay, **settings)
    assert_same(run(module, optimizer, grads, RATES), expected)


@pytest.mark.parametrize("zero", ["weights", "gradients"])
def test_lars_trusts_fully_where_a_norm_is_0(zero):
    module = model()
    grads = gradients(module)
    if zero == "weights":
        nn.init.zeros_(module[0].weight)
    else:
        grads[0][0] = np.zeros_like(grads[0][0])
    settings = {"momentum": 0.9, "eeta": 0.01}
    rates = (0.5, 0.5, 0.5)
    expected = numpy_lars(weights_of(module), grads, rates, decay=0.05, **settings)
    optimizer = lars.build(module, lr=1.0, weight_decay=0.05, **settings)
    actual = run(module, optimizer, grads, rates)
    assert_same(actual, expected)
    assert all(np.isfinite(a).all() for a in actual)


def test_lars_leaves_norms_and_biases_to_plain_momentum():
    module = model()
    bias = module[3].bias
    before = bias.detach().clone()
    optimizer = lars.build(module, lr=0.1, weight_decay=0.5)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(bias.detach(), before - 0.1)


def test_lars_scaled_gradients_give_the_same_step_and_an_overflow_none():
    plain, scaled = model(), model()
    scaled.load_state_dict(plain.state_dict())
    grads = gradients(plain)
    settings = {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.05, "eeta": 0.01}
    expected = run(plain, lars.build(plain, **settings), grads, RATES)

    optimizer = lars.build(scaled, **settings)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=10_000)
    for step, rate in enumerate([RATES[0], 99.0, *RATES[1:]]):
        overflow = step == 1
        source = grads[step if step < 1 else step - 1]
        for group in optimizer.param_groups:
            group["lr"] = rate
        for p, g in zip(scaled.parameters(), source, strict=True):
            p.grad = torch.from_numpy(g) * float(scaler.scale(torch.ones(())))
        if overflow:
            next(scaled.parameters()).grad.view(-1)[0] = float("inf")
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 128.0  # halved once, by the overflow
    assert_same([p.detach().numpy() for p in scaled.parameters()], expected, rtol=2e-5)


def test_lars_obeys_gradients_that_were_unscaled_before():
    plain, scaled = model(), model()
    grads = gradients(plain)[:1]
    settings = {"lr": 1.0, "momentum": 0.9, "weight_decay": 0.05, "eeta": 0.01}
    expected = run(plain, lars.build(plain, **settings), grads, RATES[:1])
    optimizer = lars.build(scaled, **settings)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    scaler.scale(torch.ones(()))
    for p, g in zip(scaled.parameters(), grads[0], strict=True):
        p.grad = torch.from_numpy(g) * 256.0
    for group in optimizer.param_groups:
        group["lr"] = RATES[0]
    scaler.unscale_(optimizer)  # as clipping by norm does
    scaler.step(optimizer)
    assert_same([p.detach().numpy() for p in scaled.parameters()], expected)


def test_lars_continues_from_its_state():
    whole, halves = model(), model()
    grads = gradients(whole)
    settings = {"lr": 1.0, "weight_decay": 0.05, "eeta": 0.01}
    expected = run(whole, lars.build(whole, **settings), grads, RATES)
    first = lars.build(halves, **settings)
    run(halves, first, grads[:1], RATES[:1])
    second = lars.build(halves, **settings)
    second.load_state_dict(first.state_dict())
    assert_same(run(halves, second, grads[1:], RATES[1:]), expected)


def test_lars_calls_a_closure_and_skips_parameters_without_gradient():
    module = model()
    optimizer = lars.build(module, lr=0.1)
    kept = module[0].weight.detach().clone()

    def closure() -> float:
        loss = module[3].weight.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) > 0.0
    assert torch.equal(module[0].weight, kept)


@pytest.mark.parametrize("decay_all", [False, True])
def test_sgd_follows_its_formula_for_three_steps(decay_all):
    module = model()
    grads = gradients(module)
    rates = (0.1, 0.2, 0.05)
    expected = numpy_sgd(
        weights_of(module), grads, rates, momentum=0.9, decay=0.1, decay_all=decay_all
    )
    optimizer = sgd.build(
        module,
        lr=1.0,
        momentum=0.9,
        nesterov=True,
        weight_decay=0.1,
        decay_norm_and_bias=decay_all,
    )
    assert_same(run(module, optimizer, grads, rates), expected, rtol=2e-5)


def test_every_trained_parameter_is_in_one_group():
    module = ResNetSmall(10, widths=(8, 16), blocks=(0, 1))
    module.stem[0].weight.requires_grad_(False)
    groups = sgd.decay_groups(module, weight_decay=0.1, decay_norm_and_bias=False)
    listed = [id(p) for group in groups for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in module.parameters() if p.requires_grad)
    by_decay = {group["weight_decay"]: group["params"] for group in groups}
    assert {p.ndim for p in by_decay[0.1]} == {2, 4}
    assert {p.ndim for p in by_decay[0.0]} == {1}


@pytest.mark.gpu
def test_no_optimizer_waits_for_the_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    for build in (
        lambda m: lars.build(m, lr=0.1),
        lambda m: sgd.build(m, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda m: adagrad.build(
            m, lr=0.1, epsilon=1e-8, initial_accumulator_value=0.0, lr_decay=0.1, weight_decay=0.1
        ),
    ):
        module = model().cuda()
        optimizer = build(module)
        scaler = torch.amp.GradScaler("cuda")
        for step in range(2):
            scaler.scale(module[3].weight.square().sum()).backward()
            torch.cuda.set_sync_debug_mode("error" if step else "default")
            try:
                scaler.step(optimizer)
                scaler.update()
            finally:
                torch.cuda.set_sync_debug_mode("default")
