"""Who reads what when: exact once-per-epoch reading, the same for any number of shards."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt.data.order import DRAWS, crop_corners, epoch, eval_ids, flips, plain_rows, train_rows
from ttt.protocols import Shard


def read(steps, *, shards=1, start=0, seed=3, samples=37, global_batch=8):
    """Global batches: the shards' rows of each step, joined."""
    streams = [
        train_rows(
            seed=seed,
            samples=samples,
            global_batch=global_batch,
            shard=Shard(i, shards),
            start=start,
        )
        for i in range(shards)
    ]
    parts = [list(islice(stream, steps)) for stream in streams]
    ids = np.stack([np.concatenate([part[s].ids for part in parts]) for s in range(steps)])
    draws = np.stack([np.concatenate([part[s].draws for part in parts]) for s in range(steps)])
    return ids, draws


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(1, 60),
    part=st.integers(1, 9),
    shards=st.integers(1, 6),
    seed=st.integers(0, 2**64 - 1),
)
def test_each_sample_comes_once_an_epoch(samples, part, shards, seed):
    epochs, batch = 3, part * shards
    steps = -(-epochs * samples // batch)
    ids, draws = read(steps, shards=shards, seed=seed, samples=samples, global_batch=batch)
    assert ids.shape == (steps, batch)
    assert draws.shape == (steps, batch, DRAWS)
    stream = ids.ravel()
    for number in range(epochs):
        one = stream[number * samples : (number + 1) * samples]
        assert (np.bincount(one, minlength=samples) == 1).all()


@pytest.mark.parametrize("shards", [2, 4, 8])
def test_shards_together_read_what_one_process_reads(shards):
    alone, alone_draws = read(20)
    ids, draws = read(20, shards=shards)
    np.testing.assert_array_equal(ids, alone)
    np.testing.assert_array_equal(draws, alone_draws)


@pytest.mark.parametrize("start", [1, 4, 5, 23])
def test_any_step_can_be_the_first(start):
    ids, draws = read(30, shards=2)
    later, later_draws = read(30 - start, shards=2, start=start)
    np.testing.assert_array_equal(later, ids[start:])
    np.testing.assert_array_equal(later_draws, draws[start:])


def test_epochs_and_seeds_differ_and_repeat():
    first, second, other = epoch(7, 0, 500), epoch(7, 1, 500), epoch(8, 0, 500)
    assert (first.permutation != second.permutation).any()
    assert (first.permutation != other.permutation).any()
    assert (first.draws != second.draws).any()
    again = epoch(7, 0, 500)
    np.testing.assert_array_equal(first.permutation, again.permutation)
    np.testing.assert_array_equal(first.draws, again.draws)


def test_draws_belong_to_the_sample_not_to_its_place():
    ids, draws = read(4)
    expected = epoch(3, 0, 37).draws
    np.testing.assert_array_equal(draws.reshape(-1, DRAWS)[:32], expected[ids.ravel()[:32]])


@given(samples=st.integers(0, 50), shards=st.integers(1, 60), batch=st.integers(1, 9))
def test_evaluation_reads_each_sample_once(samples, shards, batch):
    parts = [eval_ids(samples, Shard(i, shards)) for i in range(shards)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    for part in parts:
        rows = list(plain_rows(part, batch))
        assert [id for row in rows for id in row.ids.tolist()] == part.tolist()
        assert all(len(row.ids) == batch for row in rows[:-1])
        assert all(0 < len(row.ids) <= batch for row in rows)


def test_corners_reach_every_place_and_no_further():
    just_below_one = np.nextafter(np.float32(1), np.float32(0))
    ends = np.array([[0, just_below_one, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_array_equal(crop_corners(ends, 4), [[-4, 4]])
    corners = crop_corners(epoch(0, 0, 20_000).draws, 4)
    for axis in corners.T:
        places, counts = np.unique(axis, return_counts=True)
        assert places.tolist() == list(range(-4, 5))
        # 20,000 / 9 each, standard deviation 44
        assert np.abs(counts - 20_000 / 9).max() < 5 * 44


def test_half_of_the_samples_are_mirrored():
    # 20,000 fair coins, standard deviation 71
    assert abs(flips(epoch(0, 0, 20_000).draws).sum() - 10_000) < 5 * 71
