"""The loader of sentence pairs: what a batch holds, who gets which part, and what is refused."""

import json
import shutil
import sys
from itertools import islice

import numpy as np
import pytest
import torch
from sentencepiece import SentencePieceProcessor

from ranks import on_ranks
from texts import EVAL, RECIPE, TRAIN, loader, prepared
from ttt.data.guard import guarded
from ttt.distributed.world import Solo
from ttt.errors import DataError, MissingExtra
from ttt.protocols import Shard
from ttt.special_tokens import BOS, EOS, PAD

SOLO = Solo(torch.device("cpu"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("text") / "set")


def epoch(data, shard=SOLO.data, steps=None):
    return list(islice(data.train(shard, 1), steps or data.steps_to(TRAIN)))


def words(table):
    return [[i for i in row if i != PAD] for row in table.tolist()]


def test_training_batches_are_the_text_with_marks(root):
    model = SentencePieceProcessor(model_file=str(root / "spm.model"))
    texts = [(root / "text" / f"train.{x}").read_text("utf-8").splitlines() for x in ("en", "de")]
    expected = sorted(zip(*(model.encode(text) for text in texts), strict=True))
    found = []
    for source, said, to_say, _ in epoch(loader(SOLO, root)):
        assert source.dtype == said.dtype == to_say.dtype == torch.int64
        for ours, before, after in zip(*map(words, (source, said, to_say)), strict=True):
            assert ours[-1] == after[-1] == EOS
            assert before == [BOS, *after[:-1]]
            found.append((ours[:-1], after[:-1]))
    assert sorted(found) == expected


def test_padding_is_on_the_right_and_no_wider_than_needed(root):
    for batch in epoch(loader(SOLO, root)):
        for table in batch[:3]:
            is_word = table != PAD
            assert not (is_word[:, 1:] & ~is_word[:, :-1]).any()
            assert is_word[:, -1].any()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_shards_share_what_one_would_have_alone(root, count):
    alone = epoch(loader(SOLO, root))
    parts = [epoch(loader(SOLO, root), Shard(i, count)) for i in range(count)]
    for step, whole in enumerate(alone):
        rows = [row for part in parts for row in words(part[step].source)]
        assert rows == words(whole.source)


@pytest.mark.parametrize(("count", "accumulate"), [(1, 1), (2, 1), (3, 4)])
def test_weights_make_the_mean_over_words(root, count, accumulate):
    # Sum over ranks of weighted word counts, averaged as DDP and the learner do, is one.
    parts = [
        epoch(loader(SOLO, root, accumulate=accumulate), Shard(i, count)) for i in range(count)
    ]
    for batches in zip(*parts, strict=True):
        sums = [((b.target_out != PAD).sum(dim=1) * b.weight.double()).sum() for b in batches]
        assert float(sum(sums)) / count / accumulate == pytest.approx(1, rel=1e-6)


def test_more_shards_than_sentences_leave_some_with_a_row_that_counts_nothing(root):
    parts = [epoch(loader(SOLO, root, global_batch=64), Shard(i, 40)) for i in range(40)]
    for batches in zip(*parts, strict=True):
        counted = [bool((batch.weight > 0).all()) for batch in batches]
        assert all(len(batch.source) == 1 for batch in batches)
        assert sum(counted) < 40 == len(counted)
        assert counted == sorted(counted, reverse=True)
    rows = [row for part in parts for b in part if b.weight[0] > 0 for row in words(b.source)]
    assert len(rows) == TRAIN


def test_batches_of_sentences_hold_so_many(root):
    data = loader(SOLO, root, batch_by="sentences", global_batch=48)
    sizes = [len(batch.source) for batch in epoch(data)]
    assert sorted(sizes) == [12, *[48] * 6]
    assert data.samples_after(data.steps_to(TRAIN)) == TRAIN


def test_batches_of_tokens_hold_no_more(root):
    for batch in epoch(loader(SOLO, root)):
        assert batch.target_out.numel() <= 512


def test_starting_later_is_skipping(root):
    data = loader(SOLO, root)
    later = islice(loader(SOLO, root).train(SOLO.data, 1, start=9), 5)
    for ours, theirs in zip(later, epoch(data, steps=14)[9:], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_every_sentence_is_evaluated_once_beside_its_reference(root, count):
    model = SentencePieceProcessor(model_file=str(root / "spm.model"))
    texts = [(root / "text" / f"eval.{x}").read_text("utf-8").splitlines() for x in ("en", "de")]
    expected = dict(zip(map(tuple, model.encode(texts[0])), texts[1], strict=True))
    alone = [batch.source.tolist() for batch in loader(SOLO, root).eval(SOLO.data)]
    found = []
    for index in range(count):
        for batch in loader(SOLO, root).eval(Shard(index, count)):
            assert batch.source.tolist() in alone  # whole batches, whoever has them
            found += zip(words(batch.source), batch.references, strict=True)
            assert batch.decode([ids[:-1] for ids in words(batch.source)])[0] in texts[0]
    assert len(found) == EVAL
    assert {tuple(ids[:-1]): text for ids, text in found} == expected


def test_nothing_is_opened_before_the_first_batch(root):
    with guarded(str(root)):
        data = loader(SOLO, root)
        synthetic = data.synthetic(SOLO.data)
        iterators = data.train(SOLO.data, 1), data.eval(SOLO.data)
    assert next(iterators[0]).source.shape[0] > 0
    assert next(iter(iterators[1])).source.shape[0] > 0
    assert [len(batch.source) for batch in synthetic.train] == [8, 15, 30]
    [sentences] = synthetic.eval
    assert len(sentences.source) == len(sentences.references) == len(sentences.decode([[], []] * 4))


class Pooled(torch.nn.Module):
    """The least that depends on all sizes of a batch."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(RECIPE.vocabulary, 2)

    def forward(self, source, target):
        return self.embedding(target) @ self.embedding(source).transpose(1, 2)


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # torch's own imports
@pytest.mark.parametrize("batch_by", ["tokens", "sentences"])
def test_a_compiled_model_is_not_compiled_again_for_real_batches(root, batch_by):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    data = loader(SOLO, root, batch_by=batch_by, global_batch=200 if batch_by == "tokens" else 24)
    torch._dynamo.reset()
    model = Pooled()
    model.compile(backend=backend)
    for batch in data.synthetic(Shard(0, 3)).train:
        model(batch.source, batch.target_in)
    warm = len(graphs)
    for index in range(3):
        for batch in epoch(data, Shard(index, 3), steps=10):
            model(batch.source, batch.target_in)
    assert len(graphs) == warm > 0


def shares(world, root):
    data = loader(world, root)
    epoch(data, world.data)
    return data.details()


def test_the_share_of_padding_is_that_of_all_ranks(root):
    batches = [epoch(loader(SOLO, root), Shard(i, 2)) for i in range(2)]
    tables = [table for part in batches for batch in part for table in (batch[0], batch[2])]
    without = sum(int((table == PAD).sum()) for table in tables)
    expected = {"padding": without / sum(table.numel() for table in tables)}
    assert 0 < expected["padding"] < 0.15
    assert on_ranks(2, shares, root) == [expected] * 2


def test_padding_is_unknown_before_a_batch(root):
    assert loader(SOLO, root).details() == {"padding": None}


@pytest.mark.parametrize(
    ("settings", "typed"),
    [
        ({"train_samples": 7}, f"data.train_samples={TRAIN}"),
        ({"vocabulary": 7}, f"data.vocabulary={RECIPE.vocabulary}"),
        (
            {"vocabulary": 7, "max_length": 9},
            f"data.vocabulary={RECIPE.vocabulary} data.max_length=64",
        ),
    ],
)
def test_another_set_than_configured_is_refused(root, settings, typed):
    with pytest.raises(DataError, match=f"type {typed}$"):
        next(loader(SOLO, root, **settings).train(SOLO.data, 1))


def test_another_evaluation_set_is_refused(root):
    with pytest.raises(DataError, match=f"type data.eval_samples={EVAL}$"):
        next(loader(SOLO, root, eval_samples=3).eval(SOLO.data))


@pytest.mark.parametrize("name", ["train.src.bin", "train.trg.npy"])
def test_a_missing_file_is_named(root, name, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    (tmp_path / "set" / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        next(loader(SOLO, tmp_path / "set").train(SOLO.data, 1))


@pytest.mark.parametrize("name", ["spm.model", "eval.trg.txt", "eval.src.bin"])
def test_a_missing_file_of_the_evaluation_is_named(root, name, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    (tmp_path / "set" / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        next(loader(SOLO, tmp_path / "set").eval(SOLO.data))


def test_a_file_cut_short_is_noticed(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    cut = tmp_path / "set" / "train.src.bin"
    cut.write_bytes(cut.read_bytes()[:-2])
    with pytest.raises(DataError, match=r"train\.src\.bin has \d+ bytes"):
        next(loader(SOLO, tmp_path / "set").train(SOLO.data, 1))


def test_a_folder_without_a_set_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.root=.*ttt data"):
        next(loader(SOLO, tmp_path).train(SOLO.data, 1))
    (tmp_path / "manifest.json").write_text(json.dumps({"counts": {"train": 3}}))
    with pytest.raises(DataError, match=r"data\.root=DIR"):
        next(loader(SOLO, tmp_path).train(SOLO.data, 1))


def test_batches_come_and_are_counted_in_the_order_of_the_seed_that_train_gets(root):
    data = loader(SOLO, root)
    orders = []
    for seed in (1, 2, 1):
        batches = data.train(SOLO.data, seed)
        orders.append([words(batch.source) for batch in islice(batches, 9)])
        assert data.samples_after(9) == sum(map(len, orders[-1]))
    assert orders[0] == orders[2] != orders[1]


def test_a_missing_extra_says_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingExtra, match=r"sentencepiece.*pip install 'time-to-train\[text\]'"):
        loader(SOLO, root)


def test_a_line_separator_within_a_reference_is_no_end_of_line(root, tmp_path):
    shutil.copytree(root, tmp_path / "set")
    path = tmp_path / "set" / "eval.trg.txt"
    lines = path.read_text("utf-8").split("\n")
    path.write_text("\n".join(["one\u2028two", *lines[1:]]), "utf-8")
    seen = [text for b in loader(SOLO, tmp_path / "set").eval(SOLO.data) for text in b.references]
    assert "one\u2028two" in seen
    assert len(seen) == EVAL


def test_tables_are_those_of_a_loop_over_sentences(root):
    from ttt.data.corpus import Side

    side = Side.open(root, "train.src", "uint16")
    ids = np.array([5, 200, 0, 299])
    sentences = [side.tokens[side.starts[i] : side.starts[i] + side.lengths[i]] for i in ids]
    table = side.table(ids, bos=True, eos=True)
    assert words(table) == [[BOS, *sentence.tolist(), EOS] for sentence in sentences]
