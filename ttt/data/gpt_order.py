"""Which tokens make which sample of a language model, and in which order they come. NumPy only.

All documents are laid end to end in a shuffled order. Sample i is the S tokens from place i * S on,
and the labels are one place further. The samples are shuffled, too. That is the order of
Megatron-LM (core_r0.11.0, megatron/core/datasets/gpt_dataset.py), number for number: one
`RandomState(seed)` draws first the documents of all epochs together, then the samples. If fewer
than 80 % of the samples of the last epoch are needed, it is shuffled apart, after the others.

Megatron calls the sequences of an index documents here; so does this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_RUN = 128  # documents between two places that are remembered
_BLOCK = _RUN << 15  # documents that are added up at a time

Documents = npt.NDArray[np.int32]
Ids = npt.NDArray[np.int64]


class Passes(NamedTuple):
    """How many times a set is read in one shuffle, and how many samples that makes.

    Attributes:
        epochs: Times that each document comes.
        samples: Samples in all of them.
        together: Samples that are shuffled together, from the first on; those of a last epoch that
            is shuffled apart follow.
    """

    epochs: int
    samples: int
    together: int

    @classmethod
    def of(cls, tokens: int, length: int, wanted: int | None) -> Passes:
        """As few passes over the set as give enough samples.

        Args:
            tokens: Of the whole set.
            length: Tokens of a sample, S.
            wanted: Samples that are needed; None: one pass.
        """
        epochs = 1 if wanted is None else max(1, -(-(wanted * length + 1) // tokens))
        samples, before = ((count * tokens - 1) // length for count in (epochs, epochs - 1))
        apart = epochs > 1 and (wanted or 0) - before < int(0.80 * ((tokens - 1) // length))
        return cls(epochs, samples, before if apart else samples)


def generator(seed: int, number: int) -> np.random.RandomState:
    """The random numbers of a shuffle; those of shuffle 0 are Megatron's for this seed.

    NumPy promises that `RandomState` never changes its numbers.
    """
    return np.random.RandomState([seed, number] if number else seed)


def document_order(random: np.random.RandomState, documents: int, passes: Passes) -> Documents:
    """All documents of all passes, shuffled, [epochs * documents]."""
    apart = passes.together < passes.samples
    order = np.tile(np.arange(documents, dtype=np.int32), passes.epochs)
    first = len(order) - documents if apart else len(order)
    random.shuffle(order[:first])
    if apart:
        random.shuffle(order[first:])
    return order


def sample_order(random: np.random.RandomState, passes: Passes) -> npt.NDArray[Any]:
    """All samples, shuffled, [samples]."""
    few = passes.samples < np.iinfo(np.uint32).max - 1
    order = np.arange(passes.samples, dtype=np.uint32 if few else np.int64)
    random.shuffle(order[: passes.together])
    if passes.together < passes.samples:
        random.shuffle(order[passes.together :])
    return order


class Piece(NamedTuple):
    """Neighbouring tokens of one document: which, from which of its tokens on, and how many."""

    document: int
    begin: int
    taken: int


class Stream:
    """All documents end to end, in some order.

    Remembers one place in 128 documents, and adds up lengths between them when it is asked.

    Args:
        lengths: Tokens of each document, int32 [N].
        order: Which comes when, [M]; None: as they lie.
    """

    def __init__(self, lengths: npt.NDArray[np.int32], order: Documents | None = None) -> None:
        self._lengths, self._order = lengths, order
        self._count = len(lengths) if order is None else len(order)
        sums = [np.zeros(1, np.int64)]
        for first in range(0, self._count, _BLOCK):
            long = self._long(first, first + _BLOCK)
            sums.append(np.add.reduceat(long, np.arange(0, len(long), _RUN), dtype=np.int64))
        self._starts = np.concatenate(sums).cumsum()  # tokens before each run, and all of them

    @property
    def tokens(self) -> int:
        """Tokens of all documents."""
        return int(self._starts[-1])

    def pieces(self, first: int, count: int) -> Iterator[Piece]:
        """Where `count` tokens lie, from place `first` on; all of them lie before the end."""
        run = int(self._starts.searchsorted(first, side="right")) - 1
        end = int(self._starts.searchsorted(first + count, side="left"))
        long = self._long(run * _RUN, end * _RUN)
        ends = long.cumsum(dtype=np.int64) + self._starts[run]
        one = int(ends.searchsorted(first, side="right"))
        last = int(ends.searchsorted(first + count, side="left"))
        place = first
        for at in range(one, last + 1):
            begin = place - int(ends[at] - long[at])
            taken = min(int(long[at]) - begin, first + count - place)
            if taken:
                place += taken
                yield Piece(self._document(run * _RUN + at), begin, taken)

    def _long(self, first: int, last: int) -> npt.NDArray[np.int32]:
        if self._order is None:
            return self._lengths[first:last]
        return self._lengths[self._order[first:last]]

    def _document(self, at: int) -> int:
        return at if self._order is None else int(self._order[at])


@dataclass(frozen=True, slots=True)
class Shuffle:
    """One shuffle of a set: a stream of documents and the order of its samples.

    Attributes:
        stream: The documents end to end.
        order: Which sample comes when, [samples].
    """

    stream: Stream
    order: npt.NDArray[Any]

    @classmethod
    def drawn(
        cls, lengths: npt.NDArray[np.int32], passes: Passes, *, seed: int, number: int
    ) -> Shuffle:
        """Draw it.

        Args:
            lengths: Tokens of each document, int32 [N].
            passes: How many times each comes.
            seed: Of the run.
            number: Which shuffle of the run, from 0.
        """
        random = generator(seed, number)
        documents = document_order(random, len(lengths), passes)
        return cls(Stream(lengths, documents), sample_order(random, passes))
