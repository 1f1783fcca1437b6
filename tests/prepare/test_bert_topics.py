"""The masked sequences of Python's help: always the same, and what BERT's recipe says of them."""

import json

import numpy as np
import pytest

from ttt.data import examples
from ttt.errors import DataError
from ttt.prepare import bert_topics
from ttt.prepare.bert_topics import LENGTH, PIECE, PREDICTIONS, VOCABULARY, masked, split
from ttt.prepare.folder import is_complete

TEXT = np.arange(2000, dtype=np.int32) % 90 + 5  # a token tells its place, all but modulo 90
_, _, BEGIN, END, MASK, FIRST = range(6)


def columns(samples):
    """Each list of the samples, by its name."""
    sizes = examples.lengths(LENGTH, PREDICTIONS)
    ends = np.cumsum([*sizes.values()])[:-1]
    return dict(zip(sizes, np.split(samples, ends, axis=1), strict=True))


@pytest.fixture(scope="module")
def made():
    return masked(TEXT, 4000, np.random.RandomState(3))


def test_they_are_drawn_once_and_for_all(made):
    assert (made == masked(TEXT, 4000, np.random.RandomState(3))).all()
    assert (made != masked(TEXT, 4000, np.random.RandomState(4))).any()


def test_a_sample_is_two_pieces_of_text_of_which_half_follow(made):
    lists = columns(made)
    whole = lists["input_ids"].copy()
    np.put_along_axis(whole, lists["masked_lm_positions"], lists["masked_lm_ids"], axis=1)
    assert (whole[:, 0] == BEGIN).all()
    assert (whole[:, [PIECE + 1, -1]] == END).all()
    first, second = whole[:, 1 : PIECE + 1], whole[:, PIECE + 2 : -1]
    for piece in (first, second):
        assert ((np.diff(piece) == 1) | (np.diff(piece) == -89)).all()
    follows = (second[:, 0] - first[:, -1]) % 90 == 1
    other = lists["next_sentence_labels"][:, 0] == 1
    assert follows[~other].all()
    assert follows[other].mean() < 0.05
    assert abs(other.mean() - 0.5) < 0.03
    assert (lists["segment_ids"] == [[0] * (PIECE + 2) + [1] * (PIECE + 1)]).all()
    assert (lists["input_mask"] == 1).all()
    assert (lists["masked_lm_weights"] == 1).all()


def test_of_the_words_to_predict_80_percent_are_masked_and_a_tenth_left(made):
    lists = columns(made)
    places = lists["masked_lm_positions"]
    assert (np.diff(places, axis=1) > 0).all()  # five different ones, in order
    assert not np.isin(places, [0, PIECE + 1, LENGTH - 1]).any()
    there = np.take_along_axis(lists["input_ids"], places, axis=1)
    assert abs((there == MASK).mean() - 0.8) < 0.01
    left = 0.1 + 0.1 / (VOCABULARY - FIRST)
    assert abs((there == lists["masked_lm_ids"]).mean() - left) < 0.01
    assert examples.strange(made, LENGTH, PREDICTIONS, VOCABULARY) is None


def test_characters_are_tokens_and_every_tenth_paragraph_is_held_out():
    texts = split([f"{n} ~\u20ac" * 4000 for n in "abcdefghij"])
    assert [len(texts[part]) for part in ("train", "eval")] == [9 * 16_000 + 8, 16_000]
    assert texts["eval"][:4].tolist() == [ord("a") - 27, FIRST, 99, ord("?") - 27]
    with pytest.raises(DataError, match="too short"):
        split(["a"] * 50)


def test_the_folder_is_whole_and_the_same_again(tmp_path, monkeypatch):
    monkeypatch.setattr(bert_topics, "SAMPLES", {"train": 50, "eval": 10})
    seen = []
    bert_topics.prepare(tmp_path / "one", (), lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]
    bert_topics.prepare(tmp_path / "two")
    manifests = [json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("one", "two")]
    assert manifests[0] == manifests[1]
    assert manifests[0]["samples"] == {"train": 50, "eval": 10}
    assert is_complete(tmp_path / "one", bert_topics.COUNTS)
    files = sorted((tmp_path / "one" / "train").iterdir())
    assert [len(examples.places(file)) for file in files] == [13, 13, 12, 12]
    [record] = examples.read(files[0], examples.places(files[0])[:1].tolist())
    assert examples.to_predict(record, PREDICTIONS) == PREDICTIONS
