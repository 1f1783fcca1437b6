"""From Criteo's hexadecimal words to the ids of MLPerf's synthetic multi-hot set, for any size.

Two steps of the MLPerf reference (mlcommons/training, recommendation_v2/torchrec_dlrm), number for
number, in bounded memory: torchrec's `sparse_to_contiguous` with frequency threshold 0, and the
tables of `Multihot` with the uniform distribution. Arrays only; which file is what, and in which
order days come, is known elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

_FIRST = 2  # what torchrec calls the first word it meets; 1 is kept for rare words, 0 is not used
_BLOCK = 1 << 22  # values drawn at a time

Words = npt.NDArray[np.uint32]
Ids = npt.NDArray[np.int32]


class Numbering:
    """Numbers the words of one feature in the order in which they are first seen.

    Words are kept sorted, in runs of which each is at least twice as long as the next. So a block
    of words is looked up in a few runs, and a word is moved a few times in all. Memory is 8 bytes a
    word and as much again while runs are merged: 5 GB for 300 million, which Criteo's largest
    feature has.
    """

    def __init__(self) -> None:
        self.known = 0
        self._runs: list[tuple[Words, Ids]] = []

    def __call__(self, words: Words) -> Ids:
        """The numbers of these words [N], from 2 on."""
        different, places, inverse = np.unique(words, return_index=True, return_inverse=True)
        names = self._look_up(different)
        unnamed = np.flatnonzero(names == 0)
        unnamed = unnamed[np.argsort(places[unnamed])]
        names[unnamed] = np.arange(len(unnamed), dtype=np.int32) + (_FIRST + self.known)
        self.known += len(unnamed)
        unnamed.sort()
        self._learn(different[unnamed], names[unnamed])
        numbers: Ids = names[inverse]
        return numbers

    def _look_up(self, words: Words) -> Ids:
        names = np.zeros(len(words), np.int32)
        for known, their_names in self._runs:
            places = np.searchsorted(known, words).clip(max=len(known) - 1)
            here = known[places] == words
            names[here] = their_names[places[here]]
        return names

    def _learn(self, words: Words, names: Ids) -> None:
        if not len(words):
            return
        self._runs.append((words, names))
        while len(self._runs) > 1 and len(self._runs[-2][0]) < 2 * len(self._runs[-1][0]):
            (more, more_names), (words, names) = self._runs.pop(), self._runs.pop()
            words, names = np.concatenate([words, more]), np.concatenate([names, more_names])
            order = np.argsort(words, kind="stable")  # which makes use of what is sorted already
            self._runs.append((words[order], names[order]))


def expansion_path(folder: Path, feature: int) -> Path:
    """Where the further ids of a feature's ids are kept."""
    return folder / f"expansion_{feature:02d}"


def write_expansions(folder: Path, rows: Sequence[int], hots: Sequence[int]) -> Iterator[int]:
    """Draw, for each id of each feature, the further ids that always go with it.

    One stream over all features, ids and places, which NumPy promises never to change. Drawn in
    parts it is the same stream.

    Args:
        folder: Where to write a file for each feature with more than one id.
        rows: Ids of each feature.
        hots: Ids a sample has of each, the first of which is its own.

    Yields:
        Bytes written, from time to time.
    """
    random = np.random.RandomState(0)
    for feature, (count, hot) in enumerate(zip(rows, hots, strict=True)):
        if hot == 1:
            continue
        step = max(1, _BLOCK // (hot - 1))
        with expansion_path(folder, feature).open("wb") as file:
            for done in range(0, count, step):
                size = (min(step, count - done), hot - 1)
                further = random.randint(0, count, size=size).astype(np.int32)
                further.tofile(file)
                yield further.nbytes


class Expansion:
    """Gives each id the further ids that go with it.

    Args:
        folder: Where `write_expansions` wrote.
        rows: Ids of each feature.
        hots: Ids a sample has of each.
    """

    def __init__(self, folder: Path, rows: Sequence[int], hots: Sequence[int]) -> None:
        self._tables = [
            np.memmap(expansion_path(folder, feature), np.int32, "r", shape=(count, hot - 1))
            if hot > 1
            else None
            for feature, (count, hot) in enumerate(zip(rows, hots, strict=True))
        ]

    def __call__(self, ids: Ids) -> Ids:
        """From one id a feature [N, F] to all [N, sum of hots], the features' side by side."""
        columns = []
        for feature, table in enumerate(self._tables):
            columns.append(ids[:, feature, None])
            if table is not None:
                columns.append(table[ids[:, feature]])
        return np.concatenate(columns, axis=1)
