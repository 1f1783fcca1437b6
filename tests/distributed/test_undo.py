"""What the warm-up changes is put back bit for bit, and tables are not copied for it."""

import itertools

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.distributed.test_tables import ALONE, batch, learner_of
from tests.test_learner import batch as images
from tests.test_learner import learner, network
from ttt.errors import ConfigError
from ttt.optim import adagrad, adam, lars
from ttt.protocols import Synthetic
from ttt.tasks.image import ImageClassification

ADAGRAD = dict(lr=0.1, epsilon=1e-8, lr_decay=0.1, weight_decay=0.0)


class Own(torch.optim.Optimizer):
    """A user's optimizer: state from the start, of which one tensor is replaced in each step."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {"mean": torch.full_like(p, 0.5), "steps": 0}

    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                grad = p.grad.to_dense() if p.grad.is_sparse else p.grad
                state["mean"] = 0.9 * state["mean"] + grad
                state["steps"] += 1
                p.data.sub_(group["lr"] * state["mean"])


OPTIMIZERS = {
    "adagrad": lambda model: adagrad.build(model, initial_accumulator_value=0.1, **ADAGRAD),
    "adam": lambda model: adam.build(model, lr=0.1),
    "lars": lambda model: lars.build(model, lr=0.1),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), amsgrad=True),
    "own": lambda model: Own(model.parameters()),
}


def bits(learner):
    """Everything that decides the next update, by name, as it is now; without the rate."""
    optimizer = learner._parallel.optimizer.state_dict()
    groups = {f"group {i}": {**g, "lr": None} for i, g in enumerate(optimizer["param_groups"])}
    state = {f"{i} {name}": v for i, own in optimizer["state"].items() for name, v in own.items()}
    return {
        name: value.to_dense().clone() if isinstance(value, torch.Tensor) else value
        for name, value in (learner.model.state_dict() | state | groups).items()
    }


def same(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, two[name]), name
        else:
            assert value == two[name], name


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_any_optimizer_starts_as_if_there_had_been_no_warm_up(name, precision):
    warm, cold = (learner(network(), precision=precision) for _ in range(2))
    for one in (warm, cold):
        one._parallel.optimizer = OPTIMIZERS[name](one.model)
    same(bits(warm), bits(cold))
    metric = ImageClassification(label_smoothing=0.0).metric()
    warm.warm_up(Synthetic([images(8, 5), images(8, 6)], [images(3, 8)]), metric)
    same(bits(warm), bits(cold))
    for one in (warm, cold):
        torch.manual_seed(1)  # dropout
        for number in range(2):
            one.step(images(8, number))
    same(bits(warm), bits(cold))


def tables(optimizer=None, **changes):
    """A learner with sharded tables, and one like it."""
    both = [learner_of(ALONE, "auto", **changes) for _ in range(2)]
    for one in both:
        if optimizer:
            one._parallel.optimizer = optimizer(one.model)
    return both


class NoMetric:
    def update(self, prediction, batch):
        raise AssertionError

    def compute(self, world):
        return 0.0, 0


def warm_up(learner):
    dtype = next(learner.model.parameters()).dtype
    learner.warm_up(Synthetic([batch(7, dtype), batch(8, dtype)], []), NoMetric())


def momentum(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize("optimizer", [None, momentum])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_sharded_tables_start_as_if_there_had_been_no_warm_up(optimizer, precision):
    warm, cold = tables(optimizer, precision=precision)
    warm_up(warm)
    same(bits(warm), bits(cold))
    for one in (warm, cold):
        for step in range(3):
            one.step(batch(step, torch.float32))
    same(bits(warm), bits(cold))


def most_bytes(call):
    """The most that tensors took at any time during a call, above what there was before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


def test_the_warm_up_copies_the_rows_that_it_changes_and_no_table():
    """Adagrad's sum for each weight is there before the warm-up, as the weight is."""
    warm, cold = tables(precision="fp32")
    dtype = torch.float32
    [table] = [p for n, p in warm.model.named_parameters() if "shard_" in n]
    large = torch.nn.Parameter(torch.zeros(2_000_000, 8))  # 64 MB, of which a batch has 240 rows
    assert len(table) < len(large)
    for one in (warm, cold):
        shard = one.model.tables.shard_0_of_1
        shard.weight = torch.nn.Parameter(large.detach().clone())
        one._parallel.optimizer = OPTIMIZERS["adagrad"](one.model)
    size = large.nbytes
    step = most_bytes(lambda: cold.step(batch(0, dtype)))
    assert step < 0.1 * size
    assert most_bytes(lambda: warm_up(warm)) < 0.1 * size


def decaying(model):
    return Own(model.parameters())


def test_an_optimizer_that_changes_other_rows_is_refused():
    warm, _ = tables(decaying, precision="fp32")
    with pytest.raises(ConfigError, match=r"Own changes rows .* model\.sharding=off"):
        warm_up(warm)
