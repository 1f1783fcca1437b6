"""Who reads which sample when, and the random numbers that augment it.

Pure functions of (seed, step, shard): two loaders, or two sizes of the same run, that ask with the
same seed get the same samples in the same order with the same augmentation. NumPy only; nothing
here knows what a sample is or what its numbers are used for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ttt.protocols import Shard

DRAWS = 5  # uniforms a sample gets each epoch: vertical and horizontal place, flip, area, ratio

Ids = npt.NDArray[np.int64]
Draws = npt.NDArray[np.float32]


class Rows(NamedTuple):
    """One batch of one shard, before anything is read.

    Attributes:
        ids: Sample ids, int64 [B].
        draws: Uniform numbers in [0, 1), float32 [B, DRAWS]; [B, 0] where nothing is random.
    """

    ids: Ids
    draws: Draws


class Epoch(NamedTuple):
    """One pass over the training set.

    Attributes:
        permutation: Sample ids in the order of this epoch, int64 [N].
        draws: What each sample drew, float32 [N, DRAWS], indexed by sample id and not by place,
            so that a sample is augmented alike by every process.
    """

    permutation: Ids
    draws: Draws


def epoch(seed: int, number: int, samples: int) -> Epoch:
    """The full shuffle of epoch `number`, the same on every process.

    Philox is a counter-based generator, so its key (seed, number) names the stream directly: no
    epoch has to be drawn to reach a later one. NumPy may change what a generator makes of a stream
    between releases; a run is repeatable with the NumPy it records.
    """
    random = np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))
    permutation = random.permutation(samples).astype(np.int64, copy=False)
    return Epoch(permutation, random.random((samples, DRAWS), dtype=np.float32))


def train_rows(
    *, seed: int, samples: int, global_batch: int, shard: Shard, start: int = 0
) -> Iterator[Rows]:
    """Endless batches of one shard, from step `start` on.

    The epochs follow each other without a seam: global batch s is places [s * B, (s + 1) * B) of
    epoch 0, epoch 1, ... laid end to end. So every batch is full, one batch may span epochs, and
    each sample comes exactly once an epoch. Shard i of W takes the i-th of W equal runs of it.

    Args:
        seed: Names the order; equal seeds give equal batches.
        samples: Training samples N.
        global_batch: B, over all shards; `shard.count` divides it.
        shard: Which part of each batch.
        start: First step, counted from 0; costs nothing to skip to.
    """
    part = global_batch // shard.count
    number, now = -1, Epoch(np.empty(0, np.int64), np.empty((0, DRAWS), np.float32))
    for step in count(start):
        place = step * global_batch + shard.index * part
        pieces = []
        end = place + part
        while place < end:
            wanted, offset = divmod(place, samples)
            if wanted != number:
                number, now = wanted, epoch(seed, wanted, samples)
            ids = now.permutation[offset : offset + end - place]
            pieces.append(Rows(ids, now.draws[ids]))
            place += len(ids)
        yield Rows(*map(np.concatenate, zip(*pieces, strict=True)))


def plain_rows(ids: Ids, batch: int) -> Iterator[Rows]:
    """The given samples in the given order, `batch` at a time; the last batch may be smaller."""
    for first in range(0, len(ids), batch):
        part = ids[first : first + batch]
        yield Rows(part, np.empty((len(part), 0), np.float32))


def eval_ids(samples: int, shard: Shard) -> Ids:
    """The evaluation samples of one shard: every W-th, so that no shard has two more than another.

    None is repeated to fill a batch: over all shards each id comes exactly once.
    """
    return np.arange(shard.index, samples, shard.count, dtype=np.int64)


def crop_corners(draws: Draws, pad: int) -> npt.NDArray[np.int32]:
    """Top-left corner (y, x) of each crop, in pixels of the unpadded image, int32 [B, 2].

    Uniform over the 2 * pad + 1 places a crop of the image's own size has in the padded image.
    """
    corners: npt.NDArray[np.int32] = (draws[:, :2] * np.float32(2 * pad + 1)).astype(np.int32) - pad
    return corners


def flips(draws: Draws) -> npt.NDArray[np.int32]:
    """1 where a sample is mirrored left to right, else 0, int32 [B]."""
    return (draws[:, 2] < 0.5).astype(np.int32)
