"""AUC: scikit-learn's number to 1e-12, the same float on any number of ranks, NaN never helps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ranks import on_ranks
from ttt.distributed.world import Solo
from ttt.errors import DataError
from ttt.metrics.auc import Auc

NAN, INF = float("nan"), float("inf")
SOLO = Solo(torch.device("cpu"))


def auc(scores, labels, world=SOLO, batch=None):
    """The metric over these samples, fed in batches."""
    scores, labels = torch.as_tensor(scores), torch.as_tensor(labels)
    metric = Auc()
    for rows in torch.arange(len(scores)).split(batch or max(1, len(scores))):
        metric.update(scores[rows], (torch.empty(0), torch.empty(0), labels[rows]))
    return metric.compute(world)


def samples(kind, count, seed=1):
    """Scores and labels; a fifth positive, with higher scores."""
    random = np.random.default_rng(seed)
    labels = (random.random(count) < 0.2).astype(np.float32)
    scores = (random.standard_normal(count) + labels).astype(np.float32)
    if kind == "tied":
        scores = np.round(scores * 4) / 4
    elif kind == "heavily tied":
        scores = np.sign(scores)
    elif kind == "constant":
        scores = np.zeros_like(scores)
    elif kind == "infinite":
        scores = np.where(scores > 1, np.inf, np.where(scores < -1, -np.inf, scores))
    return scores.astype(np.float32), labels


KINDS = ["random", "tied", "heavily tied", "constant", "infinite"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_scikit_learn_says(kind):
    scores, labels = samples(kind, 5000)
    quality, count = auc(scores, labels, batch=333)
    finite = np.clip(scores, -1e30, 1e30)  # which keeps the order; scikit-learn refuses inf
    assert quality == pytest.approx(roc_auc_score(labels, finite), abs=1e-12)
    assert count == 5000


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_it_is_the_share_of_pairs_won(drawn):
    scores = [float(score) for score, _ in drawn]
    labels = [float(label) for _, label in drawn]
    wins = [
        (a > b) + 0.5 * (a == b)
        for a, of_a in zip(scores, labels, strict=True)
        for b, of_b in zip(scores, labels, strict=True)
        if of_a and not of_b
    ]
    if wins:
        assert auc(scores, labels) == (sum(wins) / len(wins), len(drawn))
    else:
        with pytest.raises(DataError):
            auc(scores, labels)


def share(world, kind, count):
    """What one rank computes from its part: uneven, and rank 1 of several has nothing at all."""
    scores, labels = samples(kind, count)
    weights = [0 if rank == 1 else rank + 1 for rank in range(world.size)]
    ends = np.cumsum([0, *weights]) * count // sum(weights)
    part = slice(ends[world.rank], ends[world.rank + 1])
    return auc(scores[part], labels[part], world, batch=100)


CASES = [*((kind, 1500) for kind in KINDS), ("random", 7)]


def shares(world):
    """The cases one after another, in one world: starting ranks is what takes time."""
    return [share(world, *case) for case in CASES]


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_any_number_of_ranks_gives_the_same_float(size):
    alone = [auc(*samples(*case)) for case in CASES]
    assert on_ranks(size, shares) == [alone] * size


def share_of_many(world, path):
    part = np.load(path, mmap_mode="r")[:, world.rank :: world.size]
    return auc(part[0].copy(), part[1].copy(), world)


def test_ten_million_samples(tmp_path):
    random = np.random.default_rng(1)
    made = random.random((2, 10_000_000), dtype=np.float32)
    made[1] = made[1] < 0.2
    made[0] += made[1] / 2
    scores, labels = made
    alone = auc(scores, labels)
    assert alone[0] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    np.save(tmp_path / "made.npy", made)
    assert on_ranks(2, share_of_many, str(tmp_path / "made.npy")) == [alone] * 2


def test_a_pair_more_or_less_is_seen_at_full_size():
    # 2e12 pairs: float32 would see 6e4 of them at once, float64 sees one.
    negative, positive = torch.arange(2_000_000.0), torch.full((1_000_000,), 1_000_000.5)
    scores = torch.cat([negative, positive])
    labels = torch.cat([torch.zeros(2_000_000), torch.ones(1_000_000)])
    won = 1_000_001 * 1_000_000
    assert auc(scores, labels)[0] == won / 2e12
    scores[-1] = 1_000_001.5
    assert auc(scores, labels)[0] == (won + 1) / 2e12


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_is_refused_everywhere(label):
    with pytest.raises(DataError, match="at least 1 of each"):
        auc([0.1, 0.2], [label, label])
    for said in on_ranks(2, refused, label):
        assert "undefined" in said


def refused(world, label):
    with pytest.raises(DataError) as error:
        auc([0.1, 0.2], [label, label], world)
    return str(error.value)


@pytest.mark.parametrize("other", [-INF, -1.0, 0.0, 0.3, 1.0, INF])
@pytest.mark.parametrize("place", range(4))
def test_nan_never_does_better_than_a_number(place, other):
    labels = [1.0, 0.0, 1.0, 0.0]
    scores = [0.5, 0.3, -0.2, -0.7]
    broken = [NAN if i == place else score for i, score in enumerate(scores)]
    number = [other if i == place else score for i, score in enumerate(scores)]
    assert auc(broken, labels)[0] <= auc(number, labels)[0]


def test_all_nan_is_nothing_won():
    assert auc([NAN, NAN], [1.0, 0.0]) == (0.0, 2)


def test_zeros_of_either_sign_are_equal():
    assert auc([-0.0, 0.0], [1.0, 0.0]) == (0.5, 2)


def test_empty_batches_and_half_precision_are_taken():
    metric = Auc()
    for scores, labels in (([], []), ([2.0, 1.0], [1, 0]), ([], [])):
        prediction = torch.tensor(scores, dtype=torch.bfloat16)
        metric.update(prediction, (torch.empty(0), torch.empty(0), torch.tensor(labels)))
    assert metric.compute(SOLO) == (1.0, 2)


def test_gradients_are_not_kept():
    scores = torch.tensor([1.0, 0.0], requires_grad=True)
    metric = Auc()
    metric.update(scores * 2, (torch.empty(0), torch.empty(0), torch.tensor([1, 0])))
    assert not metric._scores[0].requires_grad
