"""Processes that hold one model together read the same samples, which must not count twice."""

from types import SimpleNamespace

import pytest
import torch

from ranks import on_ranks
from tests.metrics.test_auc import auc, samples
from tests.metrics.test_bleu import SOLO
from tests.metrics.test_bleu import measured as bleu
from ttt.distributed.axis import replicas
from ttt.keep import _in_order, _Table
from ttt.metrics.accuracy import Top1
from ttt.protocols import Shard
from ttt.schema.parallel import Mesh

MESH = Mesh(replicate=2, tensor=2)


def in_pairs(world):
    """Make of four processes a world in which ranks 0 and 1, and 2 and 3, share a data shard."""
    world.mesh, world.data = MESH, Shard(MESH.data_shard(world.rank), MESH.data_shards)
    world.replicas = replicas(world.rank, MESH)
    return world


def top1(world):
    """Of 9 samples, 5 on the first shard, of which the first 6 are right."""
    logits = torch.eye(2)[[0] * 6 + [1] * 3]
    mine = slice(5) if world.data.index == 0 else slice(5, None)
    metric = Top1()
    metric.update(logits[mine], (torch.empty(0), torch.zeros(9, dtype=torch.int64)[mine]))
    return metric.compute(world)


def area(world):
    scores, labels = samples("heavily tied", 300)
    mine = slice(world.data.index, None, world.data.count)
    return auc(scores[mine], labels[mine], world)


def ordered(world):
    """The ids that rank 0 would write down."""
    ids = torch.arange(7)[world.data.index :: world.data.count].numpy()
    parts = SimpleNamespace(world=world, data=SimpleNamespace(eval_samples=7))
    found = _in_order(_Table(ids, {"id": ids}, {"id": False}), ["id"], parts)
    return [ids.tolist() for ids, _ in found]


def everything(world):
    """What each process says in pairs."""
    world = in_pairs(world)
    own = [torch.tensor([float(world.rank)])]
    world.replicas.average(own)
    pieces = [torch.full((2,), 10 * world.rank + to) for to in range(2)]
    return {
        "place": (world.rank, world.size, world.replicas.rank, world.replicas.size),
        "data": (world.data.index, world.data.count),
        "gather": world.replicas.gather(world.rank),
        "all": world.gather(world.rank),
        "sum": (world.replicas.sum([1]), world.sum([1])),
        "least": world.replicas.minimum_later([world.rank])(),
        "concat": world.replicas.concat(torch.full((1 + world.rank,), world.rank)).tolist(),
        "exchange": torch.cat(world.replicas.exchange(pieces)).tolist(),
        "average": own[0].item(),
        "top1": top1(world),
        "auc": area(world),
        "bleu": bleu(world),
        "kept": ordered(world),
    }


@pytest.fixture(scope="module")
def answers():
    return on_ranks(4, everything)


def test_an_axis_has_one_process_of_each_data_shard(answers):
    for rank, said in enumerate(answers):
        assert said["place"] == (rank, 4, rank // 2, 2)
        assert said["data"] == (rank // 2, 2)
        assert said["gather"] == [rank % 2, rank % 2 + 2]
        assert said["all"] == [0, 1, 2, 3]
        assert said["sum"] == ([2], [4])
        assert said["least"] == [rank % 2]
        assert said["average"] == 1 + rank % 2
    assert answers[0]["concat"] == [0, 2, 2, 2]
    assert answers[3]["concat"] == [1, 1, 3, 3, 3, 3]
    assert answers[0]["exchange"] == [0, 0, 20, 20]
    assert answers[3]["exchange"] == [11, 11, 31, 31]


@pytest.mark.parametrize(
    ("metric", "alone"), [("top1", (6 / 9, 9)), ("auc", area(SOLO)), ("bleu", bleu(SOLO))]
)
def test_a_sample_that_two_processes_see_counts_once(answers, metric, alone):
    assert [said[metric] for said in answers] == [alone] * 4


def test_a_sample_that_two_processes_see_is_written_once(answers):
    assert answers[0]["kept"] == [list(range(7))]
