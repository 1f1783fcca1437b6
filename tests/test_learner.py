import math

import pytest
import torch
from torch import nn

from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.learner import StandardLearner
from ttt.optim import sgd
from ttt.protocols import Synthetic
from ttt.tasks.image import ImageClassification
from ttt.telemetry.health import LossWatch
from ttt.watcher import NEVER

CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(), nn.Linear(144, 10)
    )


def learner(model, *, precision="fp32", accumulate=1, compile=False, lr=0.1, clip_norm=None):
    world = Solo(CPU)
    rules = dict(lr=lr, momentum=0.9, nesterov=True, weight_decay=0.0)
    parallel = parallelize(
        model, world, optimizer=lambda model: sgd.build(model, **rules), compile=compile
    )
    return StandardLearner(
        parallel,
        ImageClassification(label_smoothing=0.0),
        world,
        schedule=lambda step: lr,
        precision=precision,
        accumulate=accumulate,
        clip_norm=clip_norm,
    )


def batch(size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(size, 3, 8, 8, generator=generator)
    return pixels, torch.randint(10, (size,), generator=generator)


def test_warming_up_leaves_no_trace():
    warm, cold = learner(network()), learner(network())
    task = ImageClassification(label_smoothing=0.0)
    state = torch.get_rng_state()
    shapes = Synthetic([batch(8, 5), batch(8, 6)], [batch(8, 7), batch(3, 8)])
    warm.warm_up(shapes, task.metric())
    assert torch.equal(torch.get_rng_state(), state)
    assert warm.steps == 0
    assert warm.health() == (NEVER, 0.0)
    for mine in (warm, cold):
        torch.manual_seed(1)  # dropout
        for number in range(3):
            mine.step(batch(8, number))
    for name, value in cold.model.state_dict().items():
        assert torch.equal(warm.model.state_dict()[name], value), name


def test_accumulated_parts_give_the_gradient_of_the_whole():
    def plain():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 10))

    whole, parts = learner(plain()), learner(plain(), accumulate=4)
    for number in range(3):
        whole.step(batch(8, number))
        parts.step(batch(8, number))
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_evaluation_neither_learns_nor_drops_out():
    mine = learner(network())
    before = {name: value.clone() for name, value in mine.model.state_dict().items()}
    with mine.eval_mode() as model:
        assert not torch.is_grad_enabled()
        assert torch.equal(model(batch()[0]), model(batch()[0]))
    assert mine.model.training
    assert torch.is_grad_enabled()
    for name, value in before.items():
        assert torch.equal(mine.model.state_dict()[name], value), name


def test_a_loss_that_is_not_finite_is_known_by_its_step():
    mine = learner(network())
    mine.step(batch())
    assert mine.health()[0] == NEVER
    pixels, labels = batch()
    mine.step((pixels * float("inf"), labels))
    mine.step(batch())
    step, loss = mine.health()
    assert step == 1
    assert math.isnan(loss)  # the weights are NaN from there on


def test_the_first_bad_step_is_kept():
    watch = LossWatch(CPU)
    for step, loss in enumerate([1.0, float("nan"), 2.0, float("inf")]):
        watch.see(torch.tensor(loss), step)
    assert watch.look() == (1, float("inf"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_reduced_precision_trains_with_full_precision_weights(precision):
    mine = learner(network(), precision=precision)
    before = [parameter.detach().clone() for parameter in mine.model.parameters()]
    for number in range(3):
        mine.step(batch(8, number))
    after = list(mine.model.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in after)
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    with mine.eval_mode() as model:
        lowered = torch.bfloat16 if precision == "bf16" else torch.float16
        assert model(batch()[0]).dtype == lowered


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own imports
def test_compiling_changes_the_speed_and_not_the_result():
    compiled, eager = learner(network(), compile=True), learner(network())
    for mine in (compiled, eager):
        torch.manual_seed(1)
        mine.model[3].p = 0.0
        for number in range(2):
            mine.step(batch(8, number))
    for one, other in zip(compiled.model.parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_norm_of_all_gradients_together_is_clipped():
    """With plain steps of rate 1 the weights move by the gradient: by no more than the limit."""
    moved = []
    for clip_norm in (None, 1e-3):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
        before = [p.detach().clone() for p in model.parameters()]
        learner(model, lr=1.0, clip_norm=clip_norm).step(batch())
        change = [p.detach() - old for p, old in zip(model.parameters(), before, strict=True)]
        moved.append(torch.cat([c.flatten() for c in change]).norm())
    assert moved[0] > 0.1
    torch.testing.assert_close(moved[1], torch.tensor(1.9e-3), rtol=0.01, atol=0)
