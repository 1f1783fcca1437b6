"""The order of a language model's samples is Megatron's: compared with a plain writing of it."""

import numpy as np
import pytest

from ttt.data.gpt_order import Passes, Shuffle, Stream, generator


def plainly(documents, length, wanted, seed):
    """Every sample in the order Megatron reads them, by loops over a stream that is written out."""
    per_epoch = sum(map(len, documents))
    epochs, tokens = 1, per_epoch
    while wanted is not None and tokens < wanted * length + 1:
        epochs += 1
        tokens += per_epoch
    apart = False
    if epochs > 1:
        before = ((epochs - 1) * per_epoch - 1) // length
        apart = wanted - before < int(0.80 * ((per_epoch - 1) // length))
    random = np.random.RandomState(seed)
    first = [number for _ in range(epochs - apart) for number in range(len(documents))]
    last = list(range(len(documents))) if apart else []
    for part in (first, last) if apart else (first,):
        places = np.array(part, np.int32)
        random.shuffle(places)
        part[:] = places.tolist()
    stream = [token for number in first + last for token in documents[number]]
    samples = []
    while len(samples) * length + length < len(stream):
        samples.append(stream[len(samples) * length :][: length + 1])
    cut = before if apart else len(samples)
    order = []
    for part in (range(cut), range(cut, len(samples))) if apart else (range(cut),):
        places = np.array(part, np.uint32)
        random.shuffle(places)
        order += places.tolist()
    return [samples[place] for place in order]


def ours(documents, length, wanted, seed):
    lengths = np.array([len(one) for one in documents], np.int32)
    passes = Passes.of(int(lengths.sum()), length, wanted)
    drawn = Shuffle.drawn(lengths, passes, seed=seed, number=0)
    assert len(drawn.order) == passes.samples
    return [read(documents, drawn.stream, int(i) * length, length + 1) for i in drawn.order]


def read(documents, stream, first, count):
    found = []
    for document, begin, taken in stream.pieces(first, count):
        part = documents[document][begin : begin + taken]
        assert len(part) == taken > 0
        found += part
    return found


def corpus(count, longest, seed=3):
    ends = np.random.RandomState(seed).randint(0, longest + 1, size=count).cumsum()
    return [part.tolist() for part in np.split(np.arange(ends[-1]), ends[:-1])]


@pytest.mark.parametrize("wanted", [None, 1, 40, 45, 50, 60, 70, 80, 85, 90, 95, 100, 300, 1000])
def test_samples_come_as_megatron_has_them(wanted):
    documents = corpus(23, 30)
    assert ours(documents, 8, wanted, seed=7) == plainly(documents, 8, wanted, seed=7)


def test_both_ways_of_the_last_epoch_were_compared():
    tokens = sum(map(len, corpus(23, 30)))
    found = [Passes.of(tokens, 8, wanted) for wanted in (60, 70, 80, 85, 90)]
    assert {one.together == one.samples for one in found} == {True, False}


@pytest.mark.parametrize(("count", "longest"), [(700, 3), (1, 500), (5, 200)])
def test_documents_of_any_length(count, longest):
    documents = corpus(count, longest)
    assert ours(documents, 16, 150, seed=1) == plainly(documents, 16, 150, seed=1)


def test_a_stream_in_order_is_the_tokens_as_they_lie(monkeypatch):
    monkeypatch.setattr("ttt.data.gpt_order._BLOCK", 256)  # many blocks of two runs
    documents = corpus(1500, 4)
    stream = Stream(np.array([len(one) for one in documents], np.int32))
    assert stream.tokens == sum(map(len, documents))
    for first in range(0, stream.tokens - 9, 9):
        assert read(documents, stream, first, 9) == list(range(first, first + 9))
    assert read(documents, stream, 0, stream.tokens) == list(range(stream.tokens))


def test_shuffles_differ_and_the_first_is_of_the_seed_alone():
    drawn = [generator(5, number).randint(1 << 30) for number in range(4)]
    assert len(set(drawn)) == 4
    assert drawn[0] == np.random.RandomState(5).randint(1 << 30)
    assert drawn[1] != generator(6, 1).randint(1 << 30)


def test_the_index_of_a_large_set_has_the_types_of_the_reference():
    drawn = Shuffle.drawn(np.full(9, 50, np.int32), Passes.of(450, 8, 100), seed=1, number=0)
    assert drawn.order.dtype == np.uint32
    assert drawn.stream._order.dtype == np.int32
