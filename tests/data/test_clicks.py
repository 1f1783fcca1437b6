"""The click-log loader: order, shards of equal length, exact values, nothing read too early."""

import threading
from itertools import chain, islice

import numpy as np
import pytest
import torch

import click_logs
from ttt.data.clicks import Clicks
from ttt.data.guard import guarded
from ttt.data.order import train_rows
from ttt.distributed.world import Solo
from ttt.errors import DataError
from ttt.protocols import Shard
from ttt.schema.data.clicks import ClickDataConfig
from ttt.schema.parallel import Mesh

SOLO = Solo(torch.device("cpu"))
TRAIN, EVAL = 50, 23


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return click_logs.write(tmp_path_factory.mktemp("clicks") / "set", TRAIN, EVAL)


def clicks(root, **other):
    return Clicks(world=SOLO, **click_logs.settings(root, TRAIN, EVAL, **other))


def places(batches):
    """Which samples are in each batch, from the first dense feature."""
    return [batch[0][:, 0].long().tolist() for batch in batches]


def joined(lists):
    return list(chain.from_iterable(lists))


def test_a_batch_is_what_lies_on_disk(root):
    dense, ids, labels = next(iter(clicks(root, shuffle=False).train(Shard(), 1)))
    place = torch.arange(12)
    assert [tensor.dtype for tensor in (dense, ids, labels)] == [
        torch.float32,
        torch.int64,
        torch.float32,
    ]
    assert torch.equal(dense, torch.stack([place.float(), -(place / 7)], dim=1))
    assert torch.equal(labels, (place % 2).float())
    rows = np.repeat(click_logs.ROWS, click_logs.HOTS)
    assert torch.equal(ids, place[:, None] % torch.tensor(rows))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("shards", [1, 2, 3, 4])
def test_shards_share_out_every_global_batch(root, shuffle, shards):
    data = clicks(root, shuffle=shuffle)
    whole = places(islice(data.train(Shard(), 3), 10))
    parts = [places(islice(data.train(Shard(index, shards), 3), 10)) for index in range(shards)]
    assert [joined(step) for step in zip(*parts, strict=True)] == whole
    flat = joined(whole)
    assert sorted(flat[:TRAIN]) == sorted(flat[TRAIN : 2 * TRAIN]) == list(range(TRAIN))
    assert (flat[:TRAIN] == list(range(TRAIN))) is not shuffle
    assert (flat[:TRAIN] == flat[TRAIN : 2 * TRAIN]) is not shuffle


def test_the_shuffled_order_is_everybodys(root):
    rows = train_rows(seed=5, samples=TRAIN, global_batch=12, shard=Shard(1, 2), start=3)
    data = clicks(root).train(Shard(1, 2), 5, start=3)
    for wanted, found in zip(islice(rows, 5), places(islice(data, 5)), strict=True):
        assert wanted.ids.tolist() == found


@pytest.mark.parametrize("shuffle", [True, False])
def test_it_goes_on_at_any_step(root, shuffle):
    data = clicks(root, shuffle=shuffle)
    assert places(islice(data.train(Shard(), 2), 7, 12)) == places(
        islice(data.train(Shard(), 2, start=7), 5)
    )


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8, 30])
def test_every_shard_evaluates_in_as_many_batches(root, shards):
    data = clicks(root)
    parts = [places(data.eval(Shard(index, shards))) for index in range(shards)]
    assert len({len(part) for part in parts}) == 1
    assert sorted(joined(joined(parts))) == list(range(EVAL))
    assert all(len(batch) <= 4 for part in parts for batch in part)
    shapes = [tensor.shape for tensor in list(data.eval(Shard(0, 30)))[-1]]
    assert shapes == [(0, 2), (0, 5), (0,)]  # 23 samples for 30 shards: the first has none


@pytest.mark.parametrize("shards", [1, 2, 5, 8, 30])
def test_synthetic_batches_have_every_shape_and_open_nothing(root, shards):
    for index in range(shards):
        shard = Shard(index, shards)
        with guarded(str(root)):
            data = clicks(root, global_batch=120)
            made = data.synthetic(shard)
        sizes = {len(batch[2]) for batch in data.eval(shard)}
        assert {len(batch[2]) for batch in made.eval} == sizes
        assert {len(batch[2]) for batch in made.train} == {120 // shards}
        assert len(made.eval) == len(clicks(root).synthetic(Shard(0, shards)).eval)
        limits = torch.tensor(np.repeat(click_logs.ROWS, click_logs.HOTS))
        for dense, ids, labels in (*made.train, *made.eval):
            assert dense.shape == (len(labels), 2)
            assert ((ids >= 0) & (ids < limits)).all()
            assert len(labels) < 2 or set(labels.tolist()) == {0.0, 1.0}


def test_samples_and_steps(root):
    data = clicks(root)
    assert data.samples_after(3) == 36
    assert [data.steps_to(samples) for samples in (1, 12, 13)] == [1, 1, 2]
    assert data.steps_per_epoch == TRAIN / 12
    assert (data.skipped(), data.details()) == (frozenset(), {})
    data.close()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"train_samples": 51}, r"train_samples=50, but .*type data\.train_samples=50"),
        ({"rows": [50, 7, 21]}, r"rows=\[50,7,20\], but .*type data\.rows=\[50,7,20\]"),
        ({"hots": [1, 2, 2]}, r"type data\.hots=\[1,1,3\]"),
        ({"dense": 3}, r"type data\.dense=2"),
    ],
)
def test_another_set_is_refused(root, other, said):
    with pytest.raises(DataError, match=said):
        next(iter(clicks(root, **other).train(Shard(), 1)))


def test_an_incomplete_set_is_refused(tmp_path):
    with pytest.raises(DataError, match="ttt data"):
        list(clicks(tmp_path).eval(Shard()))
    click_logs.write(tmp_path, TRAIN, EVAL)
    whole = (tmp_path / "eval.bin").read_bytes()
    (tmp_path / "eval.bin").write_bytes(whole[:-4])
    with pytest.raises(DataError, match=f"has {len(whole) - 4} bytes"):
        list(clicks(tmp_path).eval(Shard()))


def test_a_loader_left_halfway_leaves_no_thread(root):
    batches = clicks(root).train(Shard(), 1)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clicks")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_batches_lie_on_the_gpu(root):
    world = Solo(torch.device("cuda", 0))
    data = Clicks(world=world, **click_logs.settings(root, TRAIN, EVAL))
    for ours, theirs in zip(
        islice(data.train(Shard(), 1), 20), clicks(root).train(Shard(), 1), strict=False
    ):
        assert all(tensor.is_cuda for tensor in ours)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.cpu(), other)


def problems(processes=2, accumulate=1, **other):
    given = click_logs.settings("x", TRAIN, EVAL, **other)
    return list(ClickDataConfig(**given).problems(Mesh(processes), accumulate))


def test_what_is_wrong_with_the_settings_is_said():
    assert problems() == []
    assert "multiples of 5" in problems(processes=5)[0]
    assert "whole training set" in problems(global_batch=60)[0]
    assert "data.rows has 1 values and data.hots 3" in problems(rows=[3])[0]
    assert "numbers above 0" in problems(hots=[1, 0, 3])[0]
    assert "data.prefetch=0" in problems(prefetch=0)[0]
