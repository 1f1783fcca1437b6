"""Optimizers under a GradScaler: torch's own updates, skipped without the host waiting.

On a GPU the host may not read a value of the device in a step. On the CPU the same reads go through
`aten::_local_scalar_dense`, which these tests refuse. torch's fused SGD and Adam are chosen for
parameters on a GPU; they exist on the CPU too, so that their path is tested there.
"""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.learner import StandardLearner
from ttt.models.embedding_bags import EmbeddingBags
from ttt.optim import adagrad, adam, lars, sgd
from ttt.tasks.image import ImageClassification

CPU = torch.device("cpu")
STEPS = 5
ADAGRAD = {"lr": 0.1, "epsilon": 1e-8, "initial_accumulator_value": 0.1}
BUILDERS = {
    "sgd": partial(sgd.build, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "sgd without momentum": partial(
        sgd.build, lr=0.1, momentum=0.0, nesterov=False, weight_decay=0.0
    ),
    "adam": partial(adam.build, lr=0.1, weight_decay=1e-3),
    "adagrad": partial(adagrad.build, **ADAGRAD, lr_decay=0.0, weight_decay=1e-3),
    "adagrad, falling": partial(
        adagrad.build,
        **ADAGRAD | {"epsilon": 0.0, "initial_accumulator_value": 0.0},
        lr_decay=1.0,
        weight_decay=0.0,
    ),
    "lars": partial(lars.build, lr=0.1),
}


class Unread(TorchDispatchMode):
    """Refuses to hand a value of a tensor to the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name
        assert name not in ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero"), name
        return func(*args, **(kwargs or {}))


@pytest.fixture
def fused(monkeypatch):
    """Choose the kernels that a GPU gets."""
    choice = {"fused": True, "foreach": False}
    for module in (sgd, adam):
        monkeypatch.setattr(module, "kernels", lambda groups: choice)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5)
    )


def tables():
    torch.manual_seed(0)
    return EmbeddingBags([6, 50], [4, 2], 3, sparse=True)


def gradients(module, seed):
    """A gradient for each weight; where it is sparse it has a few rows, one of them twice."""
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        grad = torch.randn(weight.shape, generator=generator)
        if getattr(module, "sparse", False):
            rows = torch.tensor([[3, 1, 3, 40]])
            grad = torch.sparse_coo_tensor(rows, grad[:4], weight.shape)
        weight.grad = grad.to(weight.device)


def train(module, optimizer, *, scaler=None, overflows=(), clip=False):
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 / (1 + step)
        gradients(module, step)
        if scaler is None:
            if step not in overflows:
                optimizer.step()
            continue
        scale = scaler.scale(torch.ones((), device=next(module.parameters()).device))
        for weight in module.parameters():
            weight.grad = weight.grad * scale
        if step in overflows:
            values = next(iter(module.parameters())).grad
            (values._values() if values.is_sparse else values).view(-1)[0] = float("inf")
        if clip:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(module.parameters(), 1.0, foreach=True)
        scaler.step(optimizer)
        scaler.update()
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(actual[name], value), name


def stock_adagrad(module, **settings):
    return torch.optim.Adagrad(module.parameters(), lr=0.1, eps=1e-8, **settings)


@pytest.mark.parametrize("decay", [{"lr_decay": 0.1}, {"weight_decay": 0.1}, {}])
@pytest.mark.parametrize("scaled", [False, True])
def test_adagrad_is_torchs_to_the_last_bit(decay, scaled):
    """torch's own skips by a read of the flag on the host, so that it is right by construction."""
    settings = {"lr_decay": 0.0, "weight_decay": 0.0} | decay
    results = []
    for make in (
        lambda m: adagrad.build(m, **ADAGRAD, **settings),
        lambda m: stock_adagrad(m, initial_accumulator_value=0.1, foreach=True, **settings),
    ):
        module = network()
        scaler = torch.amp.GradScaler("cpu") if scaled else None
        overflows = (0, 3) if scaled else ()
        results.append(train(module, make(module), scaler=scaler, overflows=overflows))
    assert_equal(*results)


def test_a_loaded_count_of_updates_is_where_its_weight_is():
    """A checkpoint is read to the CPU; `meta` stands for the GPU."""
    saved = adagrad.Adagrad(network().parameters())
    loaded = adagrad.Adagrad(network().to("meta").parameters())
    loaded.load_state_dict(saved.state_dict())
    for weight, state in loaded.state.items():
        assert state["step"].device == state["sum"].device == weight.device


@pytest.mark.parametrize("start", [0.0, 0.1])
@pytest.mark.parametrize("scaled", [False, True])
def test_adagrad_of_sparse_gradients_is_torchs_to_the_last_bit(start, scaled):
    settings = ADAGRAD | {"initial_accumulator_value": start}
    results, sums = [], []
    for make in (
        lambda m: adagrad.build(m, **settings, lr_decay=0.0, weight_decay=0.0),
        lambda m: stock_adagrad(m, initial_accumulator_value=start, foreach=False),
    ):
        module = tables()
        optimizer = make(module)
        scaler = torch.amp.GradScaler("cpu") if scaled else None
        overflows = (0, 3) if scaled else ()
        results.append(train(module, optimizer, scaler=scaler, overflows=overflows))
        state = optimizer.state[module.weight]
        sums.append({"sum": state["sum"], "step": state["step"]})
    assert_equal(*results)
    assert_equal(*sums)
    assert sums[0]["step"] == (STEPS - 2 if scaled else STEPS)


def test_adagrad_of_sparse_gradients_falls_as_torchs():
    results = []
    for make in (
        lambda m: adagrad.build(m, **ADAGRAD, lr_decay=0.3, weight_decay=0.0),
        lambda m: stock_adagrad(m, initial_accumulator_value=0.1, lr_decay=0.3, foreach=False),
    ):
        module = tables()
        results.append(train(module, make(module), scaler=torch.amp.GradScaler("cpu"))["weight"])
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", BUILDERS)
def test_a_step_that_overflows_changes_nothing(name, device, fused):
    """The first one of all too, in which torch's fused SGD makes its velocities."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    results = []
    # Memory that was not written has NaN in it.
    torch.use_deterministic_algorithms(True)
    try:
        for scaler in (torch.amp.GradScaler(device, growth_interval=100), None):
            module = network().to(device)
            optimizer = BUILDERS[name](module)
            results.append(train(module, optimizer, scaler=scaler, overflows=(0, 2)))
    finally:
        torch.use_deterministic_algorithms(False)
    for key, value in results[1].items():
        torch.testing.assert_close(results[0][key], value, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", BUILDERS)
def test_no_step_hands_a_value_to_the_host(name, clip, fused):
    module = network()
    optimizer = BUILDERS[name](module)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(()))  # makes the scale
    for _ in range(2):
        gradients(module, 0)
        with Unread():
            if clip:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(module.parameters(), 1.0, foreach=True)
            scaler.step(optimizer)
            scaler.update()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("name", BUILDERS)
def test_no_update_of_the_learner_hands_a_value_to_the_host(name, precision, fused):
    world = Solo(CPU)
    learner = StandardLearner(
        parallelize(network(), world, optimizer=BUILDERS[name]),
        ImageClassification(label_smoothing=0.1),
        world,
        schedule=lambda step: 0.1 / (1 + step),
        precision=precision,
        accumulate=2,
        clip_norm=1.0,
    )
    before = [weight.detach().clone() for weight in learner.model.parameters()]
    batch = torch.randn(8, 3, 4, 4), torch.randint(5, (8,))
    with Unread():
        for _ in range(2):
            learner.step(batch)
    after = list(learner.model.parameters())
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_sgd_with_velocities_from_the_beginning_is_torchs_to_the_last_bit():
    results = []
    for make in (
        BUILDERS["sgd"],
        lambda m: torch.optim.SGD(
            sgd.decay_groups(m, weight_decay=1e-3, decay_norm_and_bias=False),
            lr=0.1,
            momentum=0.9,
            nesterov=True,
            foreach=True,
        ),
    ):
        module = network()
        results.append(train(module, make(module)))
    assert_equal(*results)
