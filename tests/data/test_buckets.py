"""Batches of like length: every sentence once an epoch, whatever the shards; little padding."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ttt.data.buckets import divide, eval_batches, plan
from ttt.protocols import Shard

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=120)
SHAPES = st.tuples(st.integers(1, 300), st.booleans(), st.integers(1, 4))


def planned(pairs, shape, seed=1):
    source, target = np.array(pairs, dtype=np.int32).T
    batch, by_tokens, pieces = shape
    return (
        source,
        target,
        plan(
            source, target, seed=seed, batch=max(batch, pieces), by_tokens=by_tokens, pieces=pieces
        ),
    )


def realistic(count=3000, seed=0):
    random = np.random.default_rng(seed)
    target = np.clip(random.gamma(4, 5, count), 1, 63).astype(np.int32) + 1
    source = np.clip(target * random.normal(1.1, 0.2, count), 1, 63).astype(np.int32) + 1
    return source, target


@given(LENGTHS, SHAPES, st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_every_sentence_comes_once_an_epoch(pairs, shape, seed):
    _, _, whole = planned(pairs, shape, seed)
    batches = whole.batches()
    for _ in range(3):
        ids = np.concatenate(list(islice(batches, whole.steps)))
        assert sorted(ids) == list(range(len(pairs)))


@given(LENGTHS, SHAPES)
@settings(deadline=None, max_examples=60)
def test_no_batch_is_larger_than_asked(pairs, shape):
    _, target, whole = planned(pairs, shape)
    batch, by_tokens, pieces = shape
    budget = max(batch, pieces) // pieces
    for first, end in zip(whole.bounds, whole.bounds[1:], strict=False):
        run = np.sort(target)[first:end]
        size = len(run) * run.max() if by_tokens else len(run)
        assert len(run) == 1 or size <= budget


def test_a_batch_of_tokens_is_as_full_as_sentences_let_it_be():
    source, target = realistic()
    whole = plan(source, target, seed=1, batch=900, by_tokens=True, pieces=1)
    lengths = np.sort(target)
    for first, end in zip(whole.bounds[:-2], whole.bounds[1:-1], strict=True):
        assert (end - first + 1) * lengths[end] > 900


@given(LENGTHS, SHAPES, st.integers(0, 40))
@settings(deadline=None, max_examples=60)
def test_steps_and_samples_agree_with_the_batches(pairs, shape, start):
    _, _, whole = planned(pairs, shape)
    sizes = [len(ids) for ids in islice(whole.batches(), start + 5)]
    used = np.cumsum([0, *sizes])
    assert [whole.samples_after(step) for step in range(start + 6)] == used.tolist()
    for samples in range(0, int(used[-1]) + 1):
        assert whole.steps_to(samples) == int(used.searchsorted(samples))
    assert whole.steps_to(len(pairs)) == whole.steps  # an epoch is whole updates


@given(LENGTHS, SHAPES, st.integers(0, 60))
@settings(deadline=None, max_examples=40)
def test_starting_later_is_skipping(pairs, shape, start):
    _, _, whole = planned(pairs, shape)
    expected = list(islice(whole.batches(), start, start + 4))
    for found, ids in zip(whole.batches(start), expected, strict=False):
        np.testing.assert_array_equal(found, ids)


def test_epochs_and_seeds_differ_and_calls_do_not():
    source, target = realistic(500)

    def orders(seed):
        whole = plan(source, target, seed=seed, batch=300, by_tokens=True, pieces=1)
        batches = whole.batches()
        return [np.concatenate(list(islice(batches, whole.steps))).tolist() for _ in range(2)]

    first, second = orders(1)
    assert first != second
    assert orders(1) == [first, second]
    assert orders(2)[0] not in (first, second)


def test_sentences_of_one_length_meet_others_every_epoch():
    source = target = np.full(100, 7)
    whole = plan(source, target, seed=1, batch=70, by_tokens=True, pieces=1)
    batches = whole.batches()
    epochs = [{frozenset(ids.tolist()) for ids in islice(batches, whole.steps)} for _ in range(2)]
    assert not epochs[0] & epochs[1]


def test_updates_come_in_no_order_of_length():
    source, target = realistic()
    whole = plan(source, target, seed=1, batch=900, by_tokens=True, pieces=1)
    means = [target[ids].mean() for ids in islice(whole.batches(), whole.steps)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_pieces_mix_lengths():
    source, target = realistic()
    spreads = []
    for pieces in (1, 8):
        whole = plan(source, target, seed=1, batch=1600, by_tokens=True, pieces=pieces)
        spreads.append(np.mean([np.ptp(target[ids]) for ids in islice(whole.batches(), 20)]))
    assert spreads[1] > 5 * spreads[0]


@given(LENGTHS, st.integers(1, 9))
@settings(deadline=None, max_examples=100)
def test_parts_are_the_batch_without_gap_or_overlap(pairs, count):
    source, target = np.array(sorted(pairs, key=lambda pair: pair[1]), dtype=np.int32).T
    parts = [divide(source, target, Shard(index, count)) for index in range(count)]
    assert all(part.rows.stop > part.rows.start for part in parts)  # a row for everybody
    rows = [row for part in parts if part.counts for row in range(len(pairs))[part.rows]]
    assert rows == list(range(len(pairs)))
    assert all(part.counts for part in parts[: len(pairs)])


@pytest.mark.parametrize(("count", "pieces"), [(2, 1), (8, 1), (8, 8), (16, 8)])
def test_work_is_even_and_padding_rare(count, pieces):
    source, target = realistic(20_000)
    whole = plan(source, target, seed=1, batch=8000, by_tokens=True, pieces=pieces)
    words = every = 0
    imbalance = []
    for ids in islice(whole.batches(), 40):
        work = []
        for index in range(count):
            rows = ids[divide(source[ids], target[ids], Shard(index, count)).rows]
            work.append(len(rows) * int(source[rows].max() + target[rows].max()))
            words += int(source[rows].sum() + target[rows].sum())
        every += sum(work)
        imbalance.append(max(work) * count / sum(work))
    assert 1 - words / every < 0.15
    assert np.mean(imbalance) < 1.12


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_evaluation_batches_are_dealt_whole(lengths, batch):
    lengths = np.array(lengths, dtype=np.int32)
    alone = [ids.tolist() for ids in eval_batches(lengths, batch, Shard())]
    assert sorted(i for ids in alone for i in ids) == list(range(len(lengths)))
    tallest = [int(lengths[ids].max()) for ids in alone]
    assert tallest == sorted(tallest, reverse=True)
    for count in (2, 3, 5, 8):
        dealt = [eval_batches(lengths, batch, Shard(index, count)) for index in range(count)]
        assert [ids.tolist() for ids in dealt[0]] == alone[::count]
        assert sorted(ids.tolist() for part in dealt for ids in part) == sorted(alone)
