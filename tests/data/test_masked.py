"""Masked sequences: every sample once, the same order on any number of shards, damaged files."""

from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ranks import on_ranks
from ttt.data import examples, masked_looks
from ttt.data.masked import MaskedSequences
from ttt.errors import DataError
from ttt.flops.formulas import Lengths
from ttt.protocols import Shard

WORLD = SimpleNamespace(device=torch.device("cpu"))
LENGTH, PREDICTIONS, VOCABULARY = 6, 2, 400


def sample(number: int) -> examples.Words:
    """One that is known by its second word; some words take two bytes."""
    words = [300, number, 301, 2, 302, 0]
    return np.array([*words, *[1] * 5, 0, *[0] * 6, 1, 4, 7, 399, 1, 0, number % 2], np.int32)


@pytest.fixture
def root(tmp_path):
    for file in range(3):
        records = (sample(5 * file + n) for n in range(5))
        content = b"".join(examples.pack(one, LENGTH, PREDICTIONS) for one in records)
        (tmp_path / f"part-{file}").write_bytes(content)
    (tmp_path / "eval_10k").write_bytes((tmp_path / "part-1").read_bytes())
    return tmp_path


def loader(root, **changes) -> MaskedSequences:
    settings = dict(train_samples=15, eval_samples=5, length=LENGTH, predictions=PREDICTIONS)
    settings |= dict(
        vocabulary=VOCABULARY, global_batch=4, eval_batch=2, accumulate=1, root=str(root)
    )
    return MaskedSequences(**(dict(world=WORLD) | settings | changes))


def numbers(batches) -> list[int]:
    return [number for batch in batches for number in batch.words[:, 1].tolist()]


def test_a_record_comes_back():
    record = examples.pack(sample(3), LENGTH, PREDICTIONS)
    assert examples.parse(record, LENGTH, PREDICTIONS).tolist() == sample(3).tolist()


def test_a_batch_has_what_the_file_says(root):
    batch = next(iter(loader(root).eval(Shard(0, 1))))
    assert batch.words[0].tolist() == [300, 5, 301, 2, 302, 0]
    assert batch.mask[0].tolist() == [1] * 5 + [0]
    assert (batch.places[0].tolist(), batch.labels[0].tolist()) == ([1, 4], [7, 399])
    assert batch.weights.tolist() == [[0.5, 0], [0.5, 0]]
    assert batch.follows.tolist() == [1, 0]


@pytest.mark.parametrize("mixed", [1, 2, 3])
def test_each_sample_once_an_epoch_in_an_order_of_the_seed(root, mixed):
    data = loader(root, mixed=mixed)
    whole = numbers(islice(data.train(Shard(0, 1), 7), 15))
    assert all(sorted(whole[at : at + 15]) == list(range(15)) for at in range(0, 60, 15))
    assert len({tuple(whole[at : at + 15]) for at in range(0, 60, 15)}) == 4
    assert whole == numbers(islice(data.train(Shard(0, 1), 7), 15))
    assert whole != numbers(islice(data.train(Shard(0, 1), 8), 15))


def test_shards_share_the_order_and_a_run_goes_on_where_it_was(root):
    whole = numbers(islice(loader(root).train(Shard(0, 1), 7), 12))
    for start in (0, 3, 5):
        parts = [loader(root).train(Shard(i, 2), 7, start=start) for i in range(2)]
        batches = (next(part) for _ in range(start, 12) for part in parts)
        assert numbers(batches) == whole[4 * start :]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_evaluates_each_sample_once(root, count):
    seen = [n for i in range(count) for n in numbers(loader(root).eval(Shard(i, count)))]
    assert sorted(seen) == list(range(5, 10))


def test_nothing_is_read_before_a_batch_is_asked_for(tmp_path):
    data = loader(tmp_path / "absent")
    data.synthetic(Shard(0, 2))
    with pytest.raises(DataError, match=r"data\.root=DIR"):
        next(data.train(Shard(0, 1), 1))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-3], "cut short"),
        (lambda content: b"\xff" * 8 + content[8:], "no record of a TFRecord file"),
        (lambda content: content[:12] + b"\x09" + content[13:], "no tf.train.Example"),
        (lambda content: content.replace(b"input_mask", b"input_musk", 1), "0 numbers, not 6"),
        (lambda content: content + content, "has 10 samples, but data.eval_samples=5"),
        (lambda content: b"", "has 0 samples"),
    ],
)
def test_a_damaged_file_ends_in_a_sentence(root, damage, said):
    file = root / "eval_10k"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=said):
        list(loader(root).eval(Shard(0, 1)))


def test_a_word_outside_the_vocabulary(root):
    with pytest.raises(DataError, match="masked_lm_ids has 399; allowed: 0 to 398"):
        list(loader(root, vocabulary=399).eval(Shard(0, 1)))


def test_other_counts_than_configured(root):
    with pytest.raises(DataError, match=r"data\.train_samples=15"):
        list(islice(loader(root, train_samples=14).train(Shard(0, 1), 1), 5))


def test_looks_before_a_run(root):
    data = loader(root)._data
    assert masked_looks.faults(data) == []
    assert masked_looks.examined(data).bad == []
    (root / "part-2").write_bytes(b"nothing")
    [(name, _)] = masked_looks.examined(data).bad
    assert name.endswith("part-2")
    (root / "eval_10k").unlink()
    assert "eval_10k" in masked_looks.faults(data)[0]


def told(world, root):
    """After three batches of four: 12 samples of five words in six positions, one to predict."""
    data = loader(root, world=world)
    before = data.lengths()
    for _ in islice(data.train(world.data, 7), 3):
        pass
    return before, data.details(), data.lengths()


def test_lengths_are_those_of_the_samples_trained_on(root):
    expected = (None, {"padding": pytest.approx(1 / 6)}, Lengths.equal(5, 1))
    assert on_ranks(2, told, root) == [expected] * 2
