"""The loader of tokens: values, shards, going on, evaluation, nothing read too early."""

import os
import resource
import time
from itertools import chain, islice

import numpy as np
import pytest
import torch

import token_files
from ttt.data import tokens_looks
from ttt.data.gpt_order import Passes, Shuffle
from ttt.data.guard import guarded
from ttt.data.megatron import open_indexed
from ttt.data.tokens import TokenData, TokenSet
from ttt.distributed.world import Solo
from ttt.errors import DataError
from ttt.protocols import Shard
from ttt.schema.data.tokens import TokensDataConfig
from ttt.schema.parallel import Mesh

SOLO = Solo(torch.device("cpu"))
TRAIN, EVAL = token_files.documents(60, seed=1), token_files.documents(12, seed=2)
SAMPLES, HELD_OUT = ((sum(map(len, one)) - 1) // 8 for one in (TRAIN, EVAL))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    token_files.write(folder / "train", TRAIN)
    token_files.write(folder / "eval", EVAL, "i4")
    return folder


def loader(root, **other):
    return TokenData(world=SOLO, **token_files.settings(root, SAMPLES, HELD_OUT, **other))


def rows(batches):
    """Each batch as a list of its sequences, every one with the token after it."""
    found = []
    for inputs, labels in batches:
        assert inputs.dtype == labels.dtype == torch.int64
        assert torch.equal(inputs[:, 1:], labels[:, :-1])
        found.append(torch.cat([inputs, labels[:, -1:]], dim=1).tolist())
    return found


def joined(lists):
    return list(chain.from_iterable(lists))


def expected(planned, seed, number=0):
    """All sequences of a shuffle, from the documents themselves."""
    lengths = np.array([len(one) for one in TRAIN], np.int32)
    passes = Passes.of(int(lengths.sum()), 8, planned and planned * 24)
    drawn = Shuffle.drawn(lengths, passes, seed=seed, number=number)
    return [
        joined(TRAIN[d][b : b + n] for d, b, n in drawn.stream.pieces(int(i) * 8, 9))
        for i in drawn.order
    ]


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
@pytest.mark.parametrize("planned", [None, 20])
def test_every_step_is_the_next_global_batch_of_the_order(root, shards, planned):
    data = loader(root, planned_steps=planned)
    steps = [rows(islice(data.train(Shard(index, shards), seed=4), 14)) for index in range(shards)]
    found = joined(joined(step) for step in zip(*steps, strict=True))
    order = expected(planned, 4)
    if planned is None:  # one batch has sequences of two shuffles
        assert len(order) % 24
        order += [row for number in (1, 2, 3) for row in expected(planned, 4, number)]
    assert found == order[: 14 * 24]


@pytest.mark.parametrize("planned", [None, 5])
def test_it_goes_on_at_any_step(root, planned):
    data = loader(root, planned_steps=planned)
    whole = rows(islice(data.train(Shard(1, 3), seed=2), 40))
    for start in (1, 6, 13, 33):
        assert (
            rows(islice(data.train(Shard(1, 3), seed=2, start=start), 3))
            == (whole[start : start + 3])
        )


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
@pytest.mark.parametrize("samples", [HELD_OUT, 11])
def test_evaluation_is_the_first_sequences_once(root, shards, samples):
    data = loader(root, eval_samples=samples)
    stream = joined(EVAL)
    batches = [rows(data.eval(Shard(index, shards))) for index in range(shards)]
    ids = [list(data.eval_ids(Shard(index, shards))) for index in range(shards)]
    found = dict(
        zip(
            np.concatenate([part for one in ids for part in one]).tolist(),
            joined(joined(one) for one in batches),
            strict=True,
        )
    )
    assert found == {i: stream[8 * i : 8 * i + 9] for i in range(samples)}
    assert len({len(one) for one in batches}) == 1  # no process waits for another
    assert data.names(np.array([3, 0])) == ["3", "0"]


def test_what_is_evaluated_together_does_not_depend_on_the_shards(root):
    def cut(shards):
        data = loader(root)
        every = chain.from_iterable(data.eval_ids(Shard(i, shards)) for i in range(shards))
        return {tuple(batch.tolist()) for batch in every if len(batch)}

    assert cut(1) == cut(2) == cut(3) == cut(8)


@pytest.mark.parametrize("shards", [1, 8])
def test_the_warm_up_shows_every_shape(root, shards):
    data = loader(root)
    for index in range(shards):
        shown = data.synthetic(Shard(index, shards))
        real = list(islice(data.train(Shard(index, shards), seed=1), 2))
        assert {batch.inputs.shape for batch in real} == {b.labels.shape for b in shown.train}
        shapes = {batch.inputs.shape for batch in data.eval(Shard(index, shards))}
        assert shapes <= {batch.inputs.shape for batch in shown.eval}
        assert len(shown.eval) == (2 if shards == 1 else 3)
        assert max(int(batch.labels.max()) for batch in shown.train) < 60_000


def test_nothing_is_opened_before_the_first_batch(root):
    with guarded(str(root)):
        data = loader(root)
        data.synthetic(Shard())
        training, evaluation = data.train(Shard(), seed=1), data.eval(Shard())
        data.eval_ids(Shard())
        for batches in (training, evaluation):
            with pytest.raises(DataError, match="before RUN_START"):
                next(iter(batches))


def test_steps_and_samples(root):
    data = loader(root)
    assert data.samples_after(3) == 72
    assert [data.steps_to(n) for n in (0, 1, 24, 25)] == [0, 1, 1, 2]
    assert data.steps_per_epoch == SAMPLES / 24
    assert (data.skipped(), data.details(), data.close()) == (frozenset(), {}, None)


def test_counts_that_are_not_those_of_the_files(root):
    wrong = loader(root, train_samples=5, eval_samples=HELD_OUT + 1)
    with pytest.raises(DataError, match=f"5; type data.train_samples={SAMPLES}$"):
        next(wrong.train(Shard(), seed=1))
    with pytest.raises(DataError, match=f"type data.eval_samples={HELD_OUT}$"):
        next(wrong.eval(Shard()))
    with pytest.raises(DataError, match=r"fewer than a sequence of data.sequence_length=100000"):
        next(loader(root, sequence_length=100_000).train(Shard(), seed=1))


def looked(root, **other):
    return TokensDataConfig(**token_files.settings(root, SAMPLES, HELD_OUT, **other))


def test_looks_count_and_find_faults(root, tmp_path):
    assert tokens_looks.faults(looked(root)) == []
    assert tokens_looks.counts(looked(root)) == {
        "train_samples": SAMPLES,
        "eval_samples": HELD_OUT,
    }
    seen = tokens_looks.examined(looked(root), quick=True)
    assert (seen.read, seen.sentences()) == (sum(map(len, TRAIN + EVAL)), [])
    parts = [tokens_looks.examined(looked(root), part, 3).read for part in range(3)]
    assert sum(parts) == seen.read
    small = tokens_looks.examined(looked(root, vocabulary=50)).sentences()
    assert "vocabulary has 0 to 49" in small[0]
    highest = max(max(one, default=0) for one in TRAIN + EVAL)
    assert f"; type data.vocabulary={highest + 1} or more, or get the files again" in small[0]
    assert tokens_looks.examined(looked(root, vocabulary=None)) is None
    train, evaluation = tokens_looks.faults(looked(root, train_samples=1, eval_samples=10**9))
    assert f"data.train_samples={SAMPLES}" in train
    assert f"data.eval_samples={HELD_OUT}" in evaluation
    assert "train.idx is missing" in tokens_looks.faults(looked(tmp_path))[0]


@pytest.mark.parametrize("length", [0, -5])
def test_a_length_that_no_sequence_has_is_left_to_its_rule(root, length):
    """It is no fault of the files, and no error of ttt."""
    assert tokens_looks.faults(looked(root, sequence_length=length)) == []
    assert tokens_looks.counts(looked(root, sequence_length=length))["train_samples"] > 0


def test_files_shorter_than_a_sequence_are_one_sentence_and_no_count(root):
    asked = {"sequence_length": 10**6, "train_samples": None, "eval_samples": None}
    said = tokens_looks.faults(looked(root, **asked))
    assert len(said) == 2
    assert all("fewer than a sequence" in each for each in said)
    with pytest.raises(DataError, match="no sequence of 1000000"):
        tokens_looks.counts(looked(root, **asked))


def test_a_manifest_tells_the_vocabulary(root, tmp_path):
    for name in ("train.bin", "train.idx", "eval.bin", "eval.idx"):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / "manifest.json").write_text('{"vocabulary": 60000}')
    assert tokens_looks.counts(looked(tmp_path))["vocabulary"] == 60_000
    [sentence] = tokens_looks.faults(looked(tmp_path, vocabulary=300))
    assert "type data.vocabulary=60000" in sentence
    (tmp_path / "manifest.json").write_text("{")
    assert "manifest.json" in tokens_looks.faults(looked(tmp_path))[0]


def test_a_set_of_100_gb_is_mapped_and_not_read(tmp_path):
    """In a sparse file, of which the last tokens alone are written."""
    documents, length, size = 50_000, 500_000, 100 * 10**9
    lengths = np.full(documents, length, "<i4")
    with (tmp_path / "train.idx").open("wb") as index:
        index.write(token_files.pack([])[1][:17] + b"\4")
        index.write(np.array([documents, documents + 1], "<u8").tobytes() + lengths.tobytes())
        index.write((np.arange(documents, dtype="<i8") * 4 * length).tobytes())
        index.write(np.arange(documents + 1, dtype="<i8").tobytes())
    with (tmp_path / "train.bin").open("wb") as tokens:
        os.truncate(tokens.fileno(), size)
        tokens.seek(size - 8)
        tokens.write(np.array([7, 9], "<i4").tobytes())
    for name in ("bin", "idx"):
        (tmp_path / f"eval.{name}").symlink_to(tmp_path / f"train.{name}")
    samples = (documents * length - 1) // 8192
    other = {"sequence_length": 8192, "global_batch": 8, "eval_samples": 3, "vocabulary": 10}
    given = token_files.settings(tmp_path, samples, 3, **other)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    assert tokens_looks.faults(TokensDataConfig(**given)) == []
    assert tokens_looks.examined(TokensDataConfig(**given), quick=True).sentences() == []
    batches = list(islice(TokenData(world=SOLO, **given).train(Shard(), seed=1), 4))
    assert [batch.inputs.shape for batch in batches] == [(8, 8192)] * 4
    assert open_indexed(tmp_path / "train").read(documents - 1, length - 2, 2).tolist() == [7, 9]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 << 10  # kB
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"global_batch": 25}, "data.global_batch=25"),
        ({"global_batch": 10**6 * 6, "train_samples": 600}, "more than the whole training set"),
        ({"sequence_length": 0}, "data.sequence_length=0"),
        ({"planned_steps": -1}, "data.planned_steps=-1"),
        ({"train": "/etc/passwd"}, "data.train=/etc/passwd"),
        ({"eval": "../eval"}, "data.eval=../eval"),
        ({"eval": ""}, "data.eval="),
    ],
)
def test_rules_of_the_settings(settings, said):
    right = {"vocabulary": 9, "global_batch": 24}
    assert not list(TokensDataConfig(**right).problems(Mesh(3), 2))
    [problem] = TokensDataConfig(**(right | settings)).problems(Mesh(3), 2)
    assert said in problem


def test_the_set_of_a_run_is_its_settings(root):
    assert TokenSet(**token_files.settings(root, SAMPLES, 1)).open("eval").total == len(
        joined(EVAL)
    )
