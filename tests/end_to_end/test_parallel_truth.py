"""What may not depend on the number of ranks does not."""

import shutil
from pathlib import Path

import pytest
import torch

from ranks import on_ranks
from ttt import config
from ttt.build import build
from ttt.clock import Clock
from ttt.distributed.world import Solo
from ttt.events import EventLog
from ttt.loop import measure
from ttt.schema.run import RunConfig
from ttt.supervise.heartbeat import Heartbeat

# Rounding differs by 1e-7 until it turns one of many equal pixels in a max pool: later steps would
# compare that.
STEPS = 6


def small_run(root: Path, **data: object) -> RunConfig:
    """The digits benchmark with a network whose result does not hang on the batch it sits in."""
    config.register()
    run = config.resolve(
        config.compose(["seed=1", "model.norm=group", "model.widths=[16,32]", f"data.root={root}"])
    )
    for name, value in data.items():
        setattr(run.data, name, value)
    return config.load(config.freeze(run))


def parts_of(world, run):
    clock = Clock(lambda: 0.0)
    return build(run, world, clock, EventLog(clock.now), Heartbeat())


def trained(world, run, steps=STEPS):
    """Weights after some updates, and the quality then."""
    parts = parts_of(world, run)
    batches = parts.data.train(world.data, seed=1)
    for _ in range(steps):
        parts.learner.step(next(batches))
    weights = [parameter.detach().clone() for parameter in parts.learner.model.parameters()]
    quality, seen = measure(parts)
    parts.data.close()
    return weights, quality, seen


def quality_of(world, run):
    """The quality of weights that every world starts from."""
    _, quality, seen = trained(world, run, steps=0)
    return quality, seen


@pytest.fixture(scope="module")
def awkward(digits, tmp_path_factory):
    """An evaluation set of 119 digits: 2, 3, 5 and 8 leave a rest."""
    root = tmp_path_factory.mktemp("awkward")
    shutil.copytree(digits / "train", root / "train")
    per_class = [12] * 9 + [11]
    for digit, count in enumerate(per_class):
        (root / "test" / str(digit)).mkdir(parents=True)
        for path in sorted((digits / "test" / str(digit)).iterdir())[:count]:
            shutil.copy(path, root / "test" / str(digit))
    return root


@pytest.mark.parametrize("loader", ["dali", "resident"])
def test_the_quality_is_the_same_float_for_any_number_of_ranks(awkward, loader):
    expected = None
    for size in (1, 2, 3, 5, 8):
        run = small_run(
            awkward,
            eval_samples=119,
            eval_batch=16,
            global_batch=120,
            _target_=f"ttt.data.{loader}.Images",
        )
        answers = set(on_ranks(size, quality_of, run))
        expected = expected or answers
        assert len(expected) == 1
        assert answers == expected
    [(quality, seen)] = expected
    assert seen == 119
    assert 0 < quality < 1


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_ranks_follow_one(digits, accumulate):
    run = small_run(digits)
    alone, quality, _ = trained(Solo(torch.device("cpu")), run)
    run.accumulate = accumulate
    for weights, same, seen in on_ranks(2, trained, run):
        assert seen == 360
        # Sums in another order differ in their last bits, which may turn a digit on the fence.
        assert abs(same - quality) <= 2 / 360
        for one, other in zip(alone, weights, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def statistics_of(world, run):
    """BatchNorm's running means as an evaluation sees them, after each rank saw its own shard."""
    run.model.norm = "batch"
    parts = parts_of(world, run)
    batches = parts.data.train(world.data, seed=1)
    for _ in range(3):
        parts.learner.step(next(batches))
    own = [b.clone() for b in parts.learner.model.buffers() if b.is_floating_point()]
    with parts.learner.eval_mode() as model:
        seen = [b.clone() for b in model.buffers() if b.is_floating_point()]
    parts.data.close()
    return own, seen


def test_ranks_evaluate_the_mean_of_their_batch_statistics(digits):
    (own0, seen0), (own1, seen1) = on_ranks(2, statistics_of, small_run(digits))
    assert not all(torch.equal(one, other) for one, other in zip(own0, own1, strict=True))
    for left, right, mean, same in zip(own0, own1, seen0, seen1, strict=True):
        torch.testing.assert_close(mean, (left + right) / 2)
        assert torch.equal(mean, same)


def dropped(world, run):
    """What dropout leaves of a row of ones, first thing after building."""
    parts = parts_of(world, run)
    left = torch.nn.functional.dropout(torch.ones(64))
    weights = [parameter.detach().clone() for parameter in parts.learner.model.parameters()]
    parts.data.close()
    return left, weights


def test_shards_start_alike_and_drop_out_apart(digits):
    (left, weights), (other, same) = on_ranks(2, dropped, small_run(digits))
    assert all(torch.equal(one, two) for one, two in zip(weights, same, strict=True))
    assert not torch.equal(left, other)
