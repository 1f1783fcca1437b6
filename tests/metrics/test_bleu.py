"""BLEU: sacrebleu's own number on the gathered text, however many processes share it."""

import sys

import numpy as np
import pytest
import torch
from sacrebleu.metrics import BLEU

from ranks import on_ranks
from ttt.data.buckets import eval_batches
from ttt.distributed.world import Solo
from ttt.errors import DataError, MissingExtra
from ttt.metrics.bleu import Bleu
from ttt.special_tokens import EOS, PAD

WORDS = "the a cat Cat dog sat on mat , . ran over house-boat 3.14 don't über".split()
SOLO = Solo(torch.device("cpu"))


def decode(ids):
    return [" ".join(WORDS[i - EOS - 1] for i in sentence) for sentence in ids]


def corpus(count=37, seed=0):
    """Ids of hypotheses and the text of references that resemble them; some are empty."""
    random = np.random.default_rng(seed)
    hypotheses, references = [], []
    for _ in range(count):
        ids = random.integers(EOS + 1, EOS + 1 + len(WORDS), random.integers(0, 15))
        changed = np.where(random.random(len(ids)) < 0.2, EOS + 1, ids)
        hypotheses.append(ids.tolist())
        references.append(decode([changed.tolist()])[0].replace("dog", "Dog"))
    return hypotheses, references


def table(hypotheses):
    width = max(map(len, hypotheses)) + 2
    rows = [[*ids, EOS] + [PAD] * (width - len(ids) - 1) for ids in hypotheses]
    return torch.tensor(rows)


def measured(world, count=37, batch=4, **settings):
    hypotheses, references = corpus(count)
    metric = Bleu(**settings)
    lengths = np.array([len(ids) for ids in hypotheses])
    for ids in eval_batches(lengths, batch, world.data):
        mine = [hypotheses[i] for i in ids]
        metric.update(table(mine), (torch.empty(0), [references[i] for i in ids], decode))
    return metric.compute(world)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_equal_to_sacrebleu_to_the_last_digit(size):
    hypotheses, references = corpus()
    expected = BLEU(force=True).corpus_score(decode(hypotheses), [references]).score / 100
    assert 0.3 < expected < 0.95
    answers = on_ranks(size, measured) if size > 1 else [measured(SOLO)]
    assert answers == [(expected, 37)] * size


def test_ranks_without_a_sentence_take_part():
    answers = on_ranks(3, measured, 2, 4)  # one batch for three
    assert answers == [measured(SOLO, 2, 4)] * 3


@pytest.mark.parametrize("settings", [{"lowercase": True}, {"tokenize": "intl"}])
def test_settings_are_those_of_sacrebleu(settings):
    hypotheses, references = corpus()
    bleu = BLEU(force=True, **settings)
    expected = bleu.corpus_score(decode(hypotheses), [references])
    assert measured(SOLO, **settings) == (expected.score / 100, 37)
    assert measured(SOLO) != measured(SOLO, **settings)
    assert Bleu(**settings).details() == {"signature": str(bleu.get_signature())}


def test_the_signature_says_what_decides_a_score():
    signature = Bleu(lowercase=True, tokenize="intl").details()["signature"]
    for part in ("nrefs:1", "case:lc", "tok:intl", "smooth:exp", "version:"):
        assert part in signature


def test_what_follows_the_end_does_not_count():
    metric = Bleu()
    said = torch.tensor([[EOS + 1, EOS + 3, EOS, EOS + 5, EOS + 5], [EOS, PAD, PAD, PAD, PAD]])
    seen = []
    metric.update(said, (torch.empty(0), ["a", "b"], lambda ids: seen.extend(ids) or ["a", ""]))
    metric.compute(SOLO)
    assert seen == [[EOS + 1, EOS + 3], []]


def test_only_empty_hypotheses_are_worth_nothing():
    metric = Bleu()
    metric.update(table([[], []]), (torch.empty(0), ["the cat", "a dog"], decode))
    assert metric.compute(SOLO) == (0.0, 2)


def test_no_sentence_at_all_is_an_error():
    with pytest.raises(DataError, match=r"data\.eval_samples"):
        Bleu().compute(SOLO)


def test_taking_in_a_batch_does_not_read_it():
    class Waits:
        def tolist(self):
            raise AssertionError("the host waited")

    Bleu().update(Waits(), (torch.empty(0), ["a"], decode))


def test_a_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(MissingExtra, match=r"sacrebleu.*pip install 'time-to-train\[text\]'"):
        Bleu()


def test_orders_without_a_match_are_smoothed_as_sacrebleu_does():
    said, reference = [EOS + 2, EOS + 3, EOS + 8, EOS + 5], "a cat dog sat"
    expected = BLEU(force=True).corpus_score(decode([said]), [[reference]]).score / 100
    assert expected > 0
    metric = Bleu()
    metric.update(table([said]), (torch.empty(0), [reference], decode))
    assert metric.compute(SOLO) == (expected, 1)
