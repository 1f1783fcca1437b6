"""Masked words as a task: every word counts the same on any number of processes."""

from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ranks import on_ranks
from ttt.data import examples
from ttt.data.masked import MaskedBatch, MaskedSequences
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.errors import DataError
from ttt.learner import StandardLearner
from ttt.metrics.masked_accuracy import MaskedAccuracy
from ttt.models.bert import Bert
from ttt.optim import sgd
from ttt.tasks.masked_language import MaskedLanguage

SOLO = Solo(torch.device("cpu"))
LENGTH, PREDICTIONS, VOCABULARY = 6, 4, 30


def sample(number: int) -> examples.Words:
    """Of which one to four words are to be predicted."""
    random = np.random.default_rng(number)
    count = 1 + number % PREDICTIONS
    words, labels = random.integers(0, VOCABULARY, LENGTH), np.zeros(PREDICTIONS)
    labels[:count] = random.integers(0, VOCABULARY, count)
    weights = np.arange(PREDICTIONS) < count
    segments = [0, 0, 0, 1, 1, 1]
    columns = [words, [1] * LENGTH, segments, [1, 2, 4, 5], labels, weights, [number % 2]]
    return np.concatenate(columns).astype(np.int32)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked")
    records = (examples.pack(sample(number), LENGTH, PREDICTIONS) for number in range(24))
    (folder / "part-0").write_bytes(b"".join(records))
    return str(folder)


def learned(world, root, accumulate):
    """Weights after two updates of 12 sequences."""
    torch.manual_seed(0)
    sizes = dict(vocabulary=VOCABULARY, layers=1, width=8, heads=2, feedforward=8)
    model = Bert(**sizes, positions=LENGTH, dropout=0.0, attention_dropout=0.0)
    rules = dict(lr=0.5, momentum=0.0, nesterov=False, weight_decay=0.0)
    learner = StandardLearner(
        parallelize(model, world, optimizer=lambda model: sgd.build(model, **rules)),
        MaskedLanguage(),
        world,
        schedule=lambda step: 0.5,
        precision="fp32",
        accumulate=accumulate,
        clip_norm=None,
    )
    settings = dict(train_samples=24, eval_samples=1, length=LENGTH, predictions=PREDICTIONS)
    settings |= dict(vocabulary=VOCABULARY, global_batch=12, root=root, accumulate=accumulate)
    data = MaskedSequences(world=world, **settings)
    for batch in islice(data.train(world.data, 1), 2):
        learner.step(batch)
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize(("size", "accumulate"), [(1, 3), (2, 1), (2, 3)])
def test_updates_do_not_depend_on_how_a_batch_is_shared_out(root, size, accumulate):
    whole = learned(SOLO, root, 1)
    for weights in on_ranks(size, learned, root, accumulate):
        for name, value in weights.items():
            torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-6, msg=name)


def test_the_weights_of_a_batch_make_the_mean_over_its_words(root):
    settings = dict(train_samples=24, eval_samples=1, length=LENGTH, predictions=PREDICTIONS)
    settings |= dict(vocabulary=VOCABULARY, global_batch=12, root=root, accumulate=2)
    shards = [
        next(
            MaskedSequences(world=SOLO, **settings).train(SimpleNamespace(index=i, count=3), seed=1)
        )
        for i in range(3)
    ]
    weights = torch.cat([batch.weights for batch in shards])
    assert weights.dtype == torch.float32
    assert len({int((batch.weights > 0).sum()) for batch in shards}) > 1  # unequal shares
    of_a_word = 2 * 3 / int((weights > 0).sum())
    assert weights[weights > 0].tolist() == pytest.approx([of_a_word] * int((weights > 0).sum()))


class Fixed(nn.Module):
    """Whatever is asked, these logits."""

    def __init__(self, words, follows):
        super().__init__()
        self.words, self.follows = words, follows

    def forward(self, words, segments, mask, places):
        return self.words, self.follows


def batch(labels, weights, follows=None) -> MaskedBatch:
    labels, weights = torch.tensor(labels), torch.tensor(weights, dtype=torch.float32)
    none = torch.zeros(len(labels), 2, dtype=torch.int64)
    follows = torch.zeros(len(labels), dtype=torch.int64) if follows is None else follows
    return MaskedBatch(none, none, none, torch.zeros_like(labels), labels, weights, follows)


def test_the_loss_is_that_of_the_formula_in_fp32():
    torch.manual_seed(0)
    logits, follows = torch.randn(2, 3, 7).bfloat16(), torch.randn(2, 2).bfloat16()
    labels, weights = [[1, 2, 0], [6, 0, 0]], [[0.25, 0.25, 0.0], [0.5, 0.0, 0.0]]
    logs = logits.double().log_softmax(2)
    expected = -(0.25 * logs[0, 0, 1] + 0.25 * logs[0, 1, 2] + 0.5 * logs[1, 0, 6])
    right = torch.tensor([1, 0])
    expected = expected + F.cross_entropy(follows.double(), right)
    loss = MaskedLanguage().loss(Fixed(logits, follows), batch(labels, weights, right))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_place_with_a_nan_is_wrong_and_what_is_kept_adds_up():
    logits = F.one_hot(torch.tensor([[1, 2, 0], [0, 3, 0]]), 7).float()
    logits[1, 0, 4] = float("nan")
    task, these = MaskedLanguage(), batch([[1, 5, 0], [0, 3, 0]], [[1, 1, 0], [1, 1, 0]])
    prediction = task.predict(Fixed(logits, None), these)
    assert prediction.tolist() == [[1, 2, 0], [-1, 3, 0]]
    kept = {name: column.tolist() for name, column in task.kept(prediction, these).items()}
    assert kept == {"masked": [2, 2], "right": [1, 1]}
    metric = task.metric()
    metric.update(prediction, these)
    assert metric.compute(SOLO) == (sum(kept["right"]) / sum(kept["masked"]), 2)


def judged(world):
    """Three sequences on rank 0, one on rank 1, none on rank 2: 5 of 7 words are right."""
    metric = MaskedAccuracy()
    if world.rank == 0:
        these = batch([[1, 2], [3, 4], [5, 0]], [[1, 1], [1, 1], [0.1, 0]])
        metric.update(torch.tensor([[1, 2], [3, 9], [5, 0]]), these)
    elif world.rank == 1:
        metric.update(torch.tensor([[8, -1]]), batch([[8, 0]], [[1e-6, 1e-6]]))
    return metric.compute(world)


def test_the_quality_is_that_of_all_words_whoever_has_them():
    assert on_ranks(3, judged) == [(5 / 7, 4)] * 3


def test_a_quality_of_no_words_is_undefined():
    metric = MaskedAccuracy()
    metric.update(torch.tensor([[0]]), batch([[0]], [[0]]))
    with pytest.raises(DataError, match=r"check data\.root and data\.eval"):
        metric.compute(SOLO)
