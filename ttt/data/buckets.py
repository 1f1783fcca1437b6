"""Which sentences make which batch: pure functions of (seed, epoch, lengths, batch size).

Sentences are sorted by length and cut into runs of like length, because a batch is as wide as its
longest sentence and the rest of it is padding. One run, or a few, make a global batch. The cut is
the same every epoch, and so is the number of updates in it; which of the sentences of one length
fills which place, and which run comes when, is drawn anew.

NumPy only. Nothing here knows of files, tokens or devices, and nothing depends on the number of
shards but `divide`, which shares one global batch out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ttt.protocols import Shard

_HALVINGS = 7  # of the gap between even rows and even work: leaves less than a hundredth of it

Ids = npt.NDArray[np.int64]
Lengths = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Plan:
    """The cut of a training set, and its order in every epoch.

    Attributes:
        seed: Names the order.
        cells: Place of each sentence's pair of lengths among all such pairs, shortest target
            first, [N]. Sentences of one cell may stand for each other.
        bounds: Where each run begins among the sorted sentences, and the end, int64 [R + 1].
        pieces: Runs in a global batch.
    """

    seed: int
    cells: npt.NDArray[np.unsignedinteger]
    bounds: Ids
    pieces: int

    @property
    def samples(self) -> int:
        """Sentences in an epoch."""
        return len(self.cells)

    @property
    def steps(self) -> int:
        """Updates in an epoch."""
        return -(-(len(self.bounds) - 1) // self.pieces)

    def samples_after(self, step: int) -> int:
        """Sentences used by the first `step` updates."""
        number, within = divmod(step, self.steps)
        return number * self.samples + int(self._sizes(number)[:within].sum())

    def steps_to(self, samples: int) -> int:
        """The least number of updates that use this many sentences."""
        if samples <= 0:
            return 0
        number, before = divmod(samples - 1, self.samples)
        used = self._sizes(number).cumsum()
        return number * self.steps + int(used.searchsorted(before + 1)) + 1

    def batches(self, start: int = 0) -> Iterator[Ids]:
        """Endless global batches from step `start` on: sentence ids, shorter targets first."""
        number, within = divmod(start, self.steps)
        while True:
            random = self._generator(number)
            runs = random.permutation(len(self.bounds) - 1)
            order = self._order(random)
            for step in range(within, self.steps):
                chosen = np.sort(runs[step * self.pieces : (step + 1) * self.pieces])
                yield np.concatenate([order[slice(*self.bounds[r : r + 2])] for r in chosen])
            number, within = number + 1, 0

    def _order(self, random: np.random.Generator) -> Ids:
        """All sentences by length, each cell shuffled."""
        shuffled = random.permutation(self.samples)
        return shuffled[np.argsort(self.cells[shuffled], kind="stable")]

    def _sizes(self, number: int) -> Ids:
        """Sentences in each global batch of an epoch, without drawing which; int64 [steps]."""
        runs = self._generator(number).permutation(len(self.bounds) - 1)
        starts = np.arange(0, len(runs), self.pieces)
        sizes: Ids = np.add.reduceat(np.diff(self.bounds)[runs], starts)
        return sizes

    def _generator(self, number: int) -> np.random.Generator:
        """The random numbers of one epoch; see `ttt.data.order.epoch` on the key."""
        key = np.array([self.seed, number], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key))


def plan(
    source: Lengths, target: Lengths, *, seed: int, batch: int, by_tokens: bool, pieces: int
) -> Plan:
    """Cut a training set into runs.

    Args:
        source: Length of each source sentence, [N], above 0.
        target: Length of each target sentence, [N], above 0.
        seed: Names the order of every epoch.
        batch: Size of a global batch: target tokens, a run's padding included, or sentences. A
            batch of tokens is filled as far as whole sentences go and never holds more.
        by_tokens: Whether `batch` counts tokens.
        pieces: Runs in a global batch. One run pads least; several mix lengths in an update, which
            costs nothing where shards or accumulation take the batch apart again.
    """
    # One integer orders both lengths, the target's first. Sources grow and shrink in turns, so that
    # a run that crosses from one target length to the next finds neighbours on the other side.
    limit = int(source.max()) + 1
    keys = target.astype(np.int64) * limit + np.where(target % 2, source, limit - 1 - source)
    found, cells = np.unique(keys, return_inverse=True)
    small = np.uint16 if len(found) <= 2**16 else np.uint32  # 16 bits are sorted by radix
    share = batch // pieces
    bounds = _token_bounds(np.sort(target), share) if by_tokens else _even_bounds(len(keys), share)
    return Plan(seed, cells.astype(small), bounds, pieces)


def _token_bounds(lengths: Lengths, budget: int) -> Ids:
    """Runs of ascending lengths with (sentences x longest) <= budget, each as long as it can be."""
    bounds = [0]
    while (first := bounds[-1]) < len(lengths):
        near = lengths[first : first + max(1, budget // int(lengths[first]))].astype(np.int64)
        padded = near * np.arange(1, len(near) + 1)
        bounds.append(first + max(1, int(padded.searchsorted(budget, side="right"))))
    return np.array(bounds, dtype=np.int64)


def _even_bounds(samples: int, size: int) -> Ids:
    return np.append(np.arange(0, samples, size, dtype=np.int64), samples)


class Part(NamedTuple):
    """One shard's part of a global batch.

    Attributes:
        rows: Which rows of it.
        counts: Whether they count; False where a batch has fewer sentences than there are shards
            and this one computes a row for company only.
    """

    rows: slice
    counts: bool


def divide(source: Lengths, target: Lengths, shard: Shard) -> Part:
    """One shard's part of a global batch: neighbours in length, with near-equal padded work.

    Args:
        source: Length of each row's source, [B], in the batch's order.
        target: Length of each row's target, [B], ascending.
        shard: Whose part.
    """
    rows, count = len(target), shard.count
    if rows < count:
        counts = shard.index < rows
        first = shard.index if counts else 0
        return Part(slice(first, first + 1), counts)
    # A row's width among neighbours: the longest source so far stands for the part's longest.
    widths = np.maximum.accumulate(source).astype(np.int64) + target
    low = int(widths.sum()) // count  # less than the mean is impossible
    high = int(widths[-1]) * -(-rows // count)  # equal numbers of rows are always possible
    for _ in range(_HALVINGS):
        middle = (low + high) // 2
        low, high = (low, middle) if _parts(widths, count, middle)[1] else (middle, high)
    bounds, _ = _parts(widths, count, high)
    return Part(slice(bounds[shard.index], bounds[shard.index + 1]), True)


def _parts(widths: Ids, count: int, limit: int) -> tuple[list[int], bool]:
    """Bounds of `count` parts, each as long as (rows x widest) <= limit lets it be, none empty.

    The last part takes what is left; the second answer is whether that is within the limit, too.
    """
    bounds = [0]
    for left in range(count - 1, 0, -1):
        first = bounds[-1]
        near = widths[first : first + max(1, limit // int(widths[first]))]
        fits = int((near * np.arange(1, len(near) + 1)).searchsorted(limit, side="right"))
        bounds.append(min(first + max(1, fits), len(widths) - left))
    bounds.append(len(widths))
    return bounds, (bounds[-1] - bounds[-2]) * int(widths[-1]) <= limit


def eval_batches(lengths: Lengths, batch: int, shard: Shard) -> list[Ids]:
    """One shard's evaluation batches: sentence ids, the longest first.

    Batches are cut from the whole set and dealt whole, so that what is computed together, and with
    it every rounding, does not depend on the number of shards.

    Args:
        lengths: Length of each source sentence, [N].
        batch: Sentences in a batch; the last one may have fewer.
        shard: Whose batches.
    """
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    firsts = range(0, len(order), batch)
    return [order[first : first + batch] for first in firsts][shard.index :: shard.count]
