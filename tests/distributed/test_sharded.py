"""A model that processes hold in parts learns what one process would learn."""

from functools import cache
from unittest import mock

import pytest
import torch
from torch import nn

from parity import Setting, made, updates
from ranks import on_mesh, on_ranks
from ttt.build import spread
from ttt.distributed import narrow
from ttt.distributed.axis import gather_into
from ttt.distributed.world import Solo
from ttt.errors import ConfigError
from ttt.parity.compare import Found, farthest
from ttt.schema.choices import Checkpointing
from ttt.schema.parallel import Mesh, ParallelConfig

UPDATES = {"fp32": 20, "bf16": 4}
# Sums of another order, which updates amplify: a tenth of this in fp32. In bf16 the first gradients
# are judged by what bf16 itself costs, see `rounding`: a CPU's own products round in its own way.
CLOSE = {"fp32": (1e-5, 1e-3, 2e-5), "bf16": (None, 0.5, 0.02)}  # gradients, last, losses
MESHES = {
    "ddp": Mesh(replicate=4),
    "fsdp": Mesh(shard=4),
    "hsdp": Mesh(replicate=2, shard=2),
    "tp": Mesh(tensor=4),
    "tp_fsdp": Mesh(shard=2, tensor=2),
    "tp_ddp": Mesh(replicate=2, tensor=2),
}


@cache
def alone(family: str, precision: str, count: int, optimizer: str = "adamw") -> Found:
    asked = Setting(family, precision, optimizer=optimizer)
    return updates(Solo(torch.device("cpu")), asked, count)


@cache
def rounding(family: str, precision: str) -> float:
    """How far the first gradients of one process in this precision are from its own in fp32."""
    return farthest(alone(family, precision, 1), alone(family, "fp32", 1), 0)[0]


def assert_same(mesh: Mesh, asked: Setting, count: int = 3) -> None:
    expected = alone(asked.family, asked.precision, count, asked.optimizer)
    first, last, loss = CLOSE[asked.precision]
    first = first or 2 * rounding(asked.family, asked.precision)
    for found in on_mesh(mesh, updates, asked, count):
        assert len(found.losses) == count
        assert farthest(found, expected, 0) < (first, "")
        assert farthest(found, expected, -1) < (last, "")
        assert found.losses == pytest.approx(expected.losses, abs=loss)
        assert found.judged.shape == expected.judged.shape
        close = 10 * loss * expected.judged.abs().max()
        assert (found.judged - expected.judged).abs().max() < close


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", ["llama", "transformer"])
@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
def test_gradients_losses_and_evaluation_are_those_of_one_process(
    mesh: Mesh, family: str, precision: str
):
    assert_same(mesh, Setting(family, precision), UPDATES[precision])


@pytest.mark.parametrize("mesh", ["fsdp", "tp", "tp_fsdp"])
def test_passes_that_accumulate_are_one_update(mesh: str):
    assert_same(MESHES[mesh], Setting("llama", accumulate=2))


@pytest.mark.parametrize("which", [Checkpointing.selective, Checkpointing.full])
@pytest.mark.parametrize("mesh", ["fsdp", "tp_fsdp"])
def test_what_is_computed_again_is_the_same(mesh: str, which: Checkpointing):
    settings = ParallelConfig(checkpointing=which, reshard=False)
    assert_same(MESHES[mesh], Setting("llama", settings=settings))


@pytest.mark.parametrize(("family", "precision"), [("llama", "fp32"), ("transformer", "bf16")])
def test_copies_that_divide_the_optimizers_state_learn_the_same(family: str, precision: str):
    settings = ParallelConfig(zero1=True)
    asked = Setting(family, precision, settings=settings)
    assert_same(MESHES["ddp"], asked, UPDATES[precision])


def kept(world, settings):
    learner, mine = made(world, Setting("llama", settings=settings))
    learner.step(mine)
    state = learner._parallel.optimizer.state
    numbers = sum(one.numel() for each in state.values() for one in each.values())
    return numbers, [one.grad for one in learner.model.parameters()]


def test_each_copy_keeps_its_share_of_the_state_and_no_gradient():
    [(whole, _)] = on_ranks(1, kept, ParallelConfig())
    found = on_mesh(MESHES["ddp"], kept, ParallelConfig(zero1=True))
    assert sum(numbers for numbers, _ in found) == whole
    assert max(numbers for numbers, _ in found) < 0.4 * whole
    assert all(gradient is None for _, gradients in found for gradient in gradients)


@pytest.mark.parametrize("optimizer", ["lamb", "lars"])
@pytest.mark.parametrize("mesh", ["fsdp", "tp", "tp_fsdp"])
def test_trust_ratios_are_those_of_whole_weights(mesh: str, optimizer: str):
    assert_same(MESHES[mesh], Setting("llama", optimizer=optimizer))


@pytest.mark.parametrize("mesh", ["tp", "fsdp", "tp_fsdp"])
def test_a_recommenders_networks_are_cut(mesh: str):
    assert_same(MESHES[mesh], Setting("dlrm"))


@pytest.mark.parametrize("family", ["gnmt", "resnet"])
def test_models_without_a_plan_of_layers_are_sharded(family: str):
    assert_same(MESHES["hsdp"], Setting(family))


@pytest.mark.parametrize("mesh", ["tp", "tp_fsdp"])
def test_tied_weights_stay_tied(mesh: str):
    assert_same(MESHES[mesh], Setting("tied"))


def forgets_an_exchange(parallel):
    """A row of a layer that adds nothing up: its output is this process's share alone."""
    row = parallel.model.get_submodule("blocks.0.mlp.down")
    row._forward_hooks.clear()
    row.register_forward_hook(lambda module, inputs, out: out.to_local().chunk(4, dim=1)[0])


def doubles_the_loss(parallel):
    parallel.model.head.weight.register_hook(lambda gradient: 2 * gradient)


def has_other_words(parallel):
    """The words of each process's share of the vocabulary change places."""
    with torch.no_grad():
        local = parallel.model.head.weight.to_local()
        local.copy_(local.roll(1, 0))


@pytest.mark.parametrize("fault", [forgets_an_exchange, doubles_the_loss, has_other_words])
def test_a_planted_fault_is_seen_in_the_first_gradients(fault):
    mesh = MESHES["tp"]
    found = on_mesh(mesh, updates, Setting("llama", fault=fault), 1)
    expected = alone("llama", "fp32", 1)
    assert all(farthest(one, expected, 0) > (1e-2, "") for one in found)


def gathered(world, precision):
    """Data types in which weights travel while an update is made, and what is told of it."""
    seen = set()

    def watched(output, mine, **rest):
        seen.add(mine.dtype)
        return gather_into(output, mine, **rest)

    learner, mine = made(world, Setting("llama", precision))
    with mock.patch.object(narrow, "gather_into", watched):
        learner.step(mine)
    weights = {one.dtype for one in learner.model.parameters()}
    disclosed = spread(learner.model, world, precision).disclosed(precision, 24, 1)
    return seen, weights, disclosed["lowest_numerical_precision_in_comm"]


@pytest.mark.parametrize(
    ("mesh", "precision", "seen", "told"),
    [
        ("fsdp", "bf16", {torch.bfloat16}, "bfloat16"),
        ("tp_fsdp", "bf16", {torch.bfloat16}, "bfloat16"),
        ("tp", "bf16", set(), "bfloat16"),  # activations
        ("ddp", "bf16", set(), "fp32"),
        ("fsdp", "fp32", set(), "fp32"),
        ("tp", "fp32", set(), "fp32"),
    ],
)
def test_weights_of_units_travel_as_they_are_computed_with(mesh, precision, seen, told):
    for found in on_mesh(MESHES[mesh], gathered, precision):
        assert found == (seen, {torch.float32}, told)


class Unplanned(nn.Linear):
    """A user's own model, which says nothing of how it may be cut."""

    def __init__(self):
        super().__init__(2, 2)


def refused(world):
    from ttt.distributed.parallelize import parallelize

    with pytest.raises(ConfigError, match=r"Unplanned has none .* parallel.tensor=1"):
        parallelize(Unplanned(), world, optimizer=lambda model: None)


def test_a_model_without_a_plan_cannot_be_cut():
    on_ranks(2, refused, mesh=Mesh(tensor=2))
