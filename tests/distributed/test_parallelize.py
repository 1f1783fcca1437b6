"""A model's plan is applied once, and what is not planned is not cut."""

import pytest
import torch
from torch import nn

from ranks import on_ranks
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.errors import ConfigError
from ttt.protocols import Plan

ALONE = Solo(torch.device("cpu"))


class Doubled(nn.Module):
    """What a plan puts in the place of a layer."""

    def __init__(self, layer, world):
        super().__init__()
        self.layer, self.world = layer, world

    def forward(self, x):
        return 2 * self.layer(x)


class Planned(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))

    def plan(self):
        return Plan(units=["inner"], swap={"inner.0": Doubled})

    def forward(self, x):
        return self.inner(x)


class Unplanned(nn.Module):
    """A layer has the name of the method, and needs an argument."""

    def __init__(self):
        super().__init__()
        self.plan = nn.Linear(3, 3)

    def forward(self, x):
        return self.plan(x)


class PlansOtherThings(Unplanned):
    def __init__(self):
        nn.Module.__init__(self)
        self.layer = nn.Linear(3, 3)

    def plan(self):
        return ["of something else"]


def plain_sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.5)


def test_a_swap_is_done_before_the_optimizer_is_made():
    seen = []

    def optimizer(model):
        seen.append(model.inner[0])
        return plain_sgd(model)

    parallel = parallelize(Planned(), ALONE, optimizer=optimizer)
    [swapped] = seen
    assert isinstance(swapped, Doubled)
    assert swapped.world is ALONE
    assert parallel.module is parallel.model


class Misplanned(Planned):
    """Its names are those of another model, or of an earlier form of this one."""

    def __init__(self, **plan):
        super().__init__()
        self.says = Plan(**plan)

    def plan(self):
        return self.says


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"units": ["inner", "iner"]}, "names 'iner' in units, .* close to it: inner, inner.1, "),
        ({"tensor": {"inner.2": "column"}}, r"names 'inner\.2' in tensor, .*: inner\.1, inner\.0"),
        ({"swap": {"table": Doubled}}, "names 'table' in swap, and the model has no such module"),
        ({"units": [""]}, "names '' in units"),  # the model is no part of itself
        ({"units": "inner"}, "gives units='inner'; allowed: a list of names"),
        ({"swap": ["inner.0"]}, r"gives swap=\['inner.0'\]; allowed: a mapping by names"),
    ],
)
def test_a_plan_of_another_model_is_refused_before_anything_is_built(plan, words):
    with pytest.raises(ConfigError, match=words) as error:
        parallelize(Misplanned(**plan), ALONE, optimizer=None)
    assert len(error.value.problems) == 1


def test_a_plan_may_name_a_module_by_each_of_its_names():
    model = Misplanned(units=["again.0", "inner.0"])
    model.again = model.inner
    assert parallelize(model, ALONE, optimizer=plain_sgd).model is model


class PlansWithArguments(nn.Linear):
    """A method of the user's own has the name and needs an argument."""

    def plan(self, x):
        return 2 * x


@pytest.mark.parametrize(
    "kind",
    [Unplanned, PlansOtherThings, lambda: PlansWithArguments(3, 3), lambda: nn.Linear(3, 3)],
)
def test_a_model_without_a_plan_is_left_alone(kind):
    model = kind()
    before = dict(model.named_modules())
    parallel = parallelize(model, ALONE, optimizer=plain_sgd)
    assert parallel.model is model
    assert dict(model.named_modules()) == before
    assert parallel.tables is None


def freezing(model):
    """An optimizer's maker may decide what is trained: gradients of the rest are not awaited."""
    model.inner[0].layer.bias.requires_grad_(False)
    return plain_sgd(model)


def updated(world):
    """Weights, statistics before and after their mean, on a rank with samples of its own."""
    torch.manual_seed(0)
    parallel = parallelize(Planned(), world, optimizer=freezing)
    x = torch.randn(2, 4, 3)[world.rank]
    for last in (False, True):
        with parallel.passing(last=False):
            parallel.module(x).square().sum().backward()
        local = [one.grad.clone() for one in parallel.model.parameters() if one.requires_grad]
        if last:
            break
        parallel.optimizer.zero_grad()
        parallel.module(x).square().sum().backward()  # averaged
        parallel.clip(1.0)
        parallel.optimizer.step()
        parallel.optimizer.zero_grad()
    weights = [one.detach().clone() for one in parallel.model.parameters()]
    [statistics] = [b for name, b in parallel.model.named_buffers() if "mean" in name]
    own = statistics.clone()
    parallel.average_buffers()
    return weights, local, own, statistics


def test_processes_average_gradients_and_statistics():
    (weights, local, own, mean), (same, apart, other, also) = on_ranks(2, updated)
    assert all(torch.equal(one, two) for one, two in zip(weights, same, strict=True))
    assert not any(torch.equal(one, two) for one, two in zip(local, apart, strict=True))
    assert torch.equal(mean, also)
    assert not torch.equal(own, other)
    torch.testing.assert_close(mean, (own + other) / 2)


def trial_of(parallel):
    """Whether all is as it was after updates that were for trial."""
    before = {name: value.clone() for name, value in parallel.model.state_dict().items()}
    with parallel.trial():
        parallel.module(torch.randn(4, 3)).sum().backward()
        parallel.optimizer.step()
        changed = parallel.model.state_dict()["inner.1.running_mean"].clone()
    after = parallel.model.state_dict()
    return (
        all(torch.equal(after[name], value) for name, value in before.items()),
        torch.equal(changed, before["inner.1.running_mean"]),
    )


def test_updates_for_trial_leave_nothing():
    assert trial_of(parallelize(Planned(), ALONE, optimizer=plain_sgd)) == (True, False)
