"""Tables that are spread over processes learn what whole ones learn.

Adagrad from 0 makes a first step of full length out of any gradient, of a rounding error too: in
fp32 any two ways to add up part after some tens of steps. In fp64 what is equal stays equal.
"""

from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from ranks import on_ranks
from ttt.config import instantiate
from ttt.distributed import checkpoint, sharding_plan
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.errors import ConfigError
from ttt.learner import StandardLearner
from ttt.models.dlrm_dcnv2 import DlrmDcnV2
from ttt.optim import adagrad
from ttt.schema.model.recommendation import DlrmDcnV2Config

# Replicated, cut and whole tables in "auto"; a table of fewer rows than processes; many ids.
ROWS, HOTS, DIM = [150, 4000, 2, 1700, 30, 1640], [2, 3, 1, 1, 8, 1], 8
SMALL_BYTES = 200 * DIM * 4  # instead of 1 MiB
SHARDED = 4000 + 1700 + 1640  # rows of the tables that are larger
GLOBAL_BATCH, STEPS = 48, 10
ALONE = Solo(torch.device("cpu"))


class Clicks:
    """Just the loss: what is learnt does not matter here, only that all learn it alike."""

    def loss(self, model, batch):
        dense, ids, labels = batch
        return F.binary_cross_entropy_with_logits(model(dense, ids), labels)


def small_tables():
    """Within it, tables of more than `SMALL_BYTES` are not replicated."""
    return patch.object(sharding_plan, "_REPLICATED_BYTES", SMALL_BYTES)


def model_of(sharding):
    torch.manual_seed(5)
    return DlrmDcnV2(
        4,
        ROWS,
        HOTS,
        dim=DIM,
        bottom=[16, 8],
        cross_layers=2,
        cross_rank=4,
        top=[8, 1],
        sharding=sharding,
    )


def parallel_of(world, sharding, dtype=torch.float32):
    # From 0, the first step of Adagrad is the same for gradients of any size.
    rules = dict(epsilon=1e-8, initial_accumulator_value=1e-4, lr_decay=0.0, weight_decay=0.0)
    with small_tables():
        return parallelize(
            model_of(sharding),
            world,
            optimizer=lambda model: adagrad.build(model.to(dtype), lr=0.1, **rules),
        )


def learner_of(world, sharding, accumulate=1, precision="fp64"):
    dtype = torch.float64 if precision == "fp64" else torch.float32
    return StandardLearner(
        parallel_of(world, sharding, dtype),
        Clicks(),
        world,
        schedule=lambda step: 0.3 / (3 + step),
        precision=precision,
        accumulate=accumulate,
        clip_norm=None,
    )


def batch(step, dtype, size=GLOBAL_BATCH):
    """A global batch; ids are the smaller the likelier, so that many come more than once."""
    generator = torch.Generator().manual_seed(step)
    ids = [
        (rows * torch.rand(size, hots, generator=generator) ** 4).long()
        for rows, hots in zip(ROWS, HOTS, strict=True)
    ]
    dense = torch.randn(size, 4, generator=generator)
    labels = torch.randint(2, (size,), generator=generator)
    return dense.to(dtype), torch.cat(ids, 1), labels.to(dtype)


def part_of(world, whole):
    return tuple(tensor.chunk(world.size)[world.rank] for tensor in whole)


def curve(world, learner, steps):
    """The loss of each global batch before its update."""
    losses, dtype = [], next(learner.model.parameters()).dtype
    for step in steps:
        mine = part_of(world, batch(step % 3, dtype))
        with torch.no_grad():
            loss = Clicks().loss(learner.model, mine)
        losses.append(sum(world.gather(loss.item())) / world.size)
        learner.step(mine)
    return losses


def trained(world, sharding, accumulate=1, precision="fp64"):
    """Losses on the way, then logits of 7 samples, all of them on the first process."""
    learner = learner_of(world, sharding, accumulate, precision)
    losses = curve(world, learner, range(STEPS))
    with learner.eval_mode() as model:
        dense, ids, _ = batch(99, next(model.parameters()).dtype, 7 if world.rank == 0 else 0)
        logits = model(dense, ids)
    return losses, logits


def cut_in_two(world, sharding, folder):
    """As `trained`, but another learner takes over from a checkpoint in the middle."""
    first, second = learner_of(world, sharding), learner_of(world, sharding)
    losses = curve(world, first, range(STEPS // 2))
    part = checkpoint.part(first.state(), world, copy=True)
    curve(world, first, range(2))  # training goes on while the copy is written
    where = checkpoint.Progress(STEPS // 2, world.size, 0.0, {})
    checkpoint.write(part, where, folder / sharding, world.rank, total=0)
    world.barrier()
    curve(world, second, range(1))  # whatever it knew is forgotten
    alike, own = checkpoint.read(folder / sharding, STEPS // 2, world)
    second.restore(alike | own)
    return losses + curve(world, second, range(STEPS // 2, STEPS))


def kept(world):
    """Weights that a process keeps of automatically spread tables."""
    tables = parallel_of(world, "auto").model.tables
    return {name: tuple(weight.shape) for name, weight in tables.named_parameters()}


def everything(world, folder):
    """One start of processes for all that is tested of them."""
    return {
        "off": trained(world, "off"),
        "auto": trained(world, "auto"),
        "table": trained(world, "table"),
        "row": trained(world, "row"),
        "parts": trained(world, "auto", accumulate=2),
        "fp32": trained(world, "auto", precision="fp32"),
        "bf16": trained(world, "auto", precision="bf16"),
        "cut": [cut_in_two(world, sharding, folder) for sharding in ("auto", "table", "row")],
        "kept": kept(world),
    }


@pytest.fixture(scope="module", params=[1, 2, 3])
def answers(request, tmp_path_factory):
    """What each of 1, 2 and 3 processes says."""
    folder = tmp_path_factory.mktemp("checkpoints")
    if request.param == 1:
        return [everything(ALONE, folder)]
    return on_ranks(request.param, everything, folder)


@pytest.fixture(scope="module")
def whole():
    """Losses and logits of a process with tables of its own."""
    losses, logits = trained(ALONE, "off")
    assert losses[-1] < losses[0] - 0.02
    return losses, logits


@pytest.mark.parametrize("sharding", ["off", "auto", "table", "row", "parts"])
def test_the_loss_curve_is_that_of_whole_tables(answers, whole, sharding):
    losses, logits = whole
    for answer in answers:
        assert answer[sharding][0] == pytest.approx(losses, rel=0, abs=1e-12)
    first, *others = [answer[sharding][1] for answer in answers]
    torch.testing.assert_close(first, logits, rtol=0, atol=1e-12)
    assert all(other.shape == (0,) for other in others)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_less_precise_arithmetic_goes_about_the_same_way(answers, whole, precision, apart):
    for answer in answers:
        assert answer[precision][0] == pytest.approx(whole[0], rel=0, abs=apart)
        assert answer[precision][0] != answer["auto"][0]


def test_a_run_goes_on_where_its_tables_were_saved(answers):
    """To the last bit, on as many processes as before."""
    for answer in answers:
        uncut = (answer[sharding][0] for sharding in ("auto", "table", "row"))
        assert answer["cut"] == list(uncut)


def test_no_process_keeps_more_than_its_part(answers):
    size = len(answers)
    shards = 0
    for rank, answer in enumerate(answers):
        weights = answer["kept"]
        assert weights.pop("replicated.weight") == (150 + 2 + 30, DIM)
        [(name, (rows, width))] = weights.items()
        assert name == f"shard_{rank}_of_{size}.weight"
        assert width == DIM
        assert rows <= SHARDED if size == 1 else rows < 0.7 * SHARDED
        shards += rows
    assert shards == SHARDED


def test_tables_that_do_not_fit_are_refused():
    rows = [10**10] * 3
    huge = DlrmDcnV2Config(dense=4, rows=rows, hots=[1] * 3, sharding="auto", memory_gb=80)
    model = instantiate("model", huge)
    with pytest.raises(ConfigError, match="at least 384 processes"):
        parallelize(model, ALONE, optimizer=lambda model: None)


def test_other_models_are_left_alone():
    whole = DlrmDcnV2Config(dense=4, rows=ROWS, hots=HOTS, sharding="off")
    for other in (torch.nn.Linear(2, 1), instantiate("model", whole)):
        before = dict(other.named_parameters())
        assert parallelize(other, ALONE, optimizer=lambda model: None).tables is None
        assert dict(other.named_parameters()) == before
