"""The click-log loader: records mapped from disk, gathered a few batches ahead by one thread.

For sets of any size: nothing is held but the batches under way and, for a shuffled set, one
permutation. A batch reaches the device in one copy, from pinned memory where that is a GPU. It does
not know what a feature means; `ttt.data.records` says how the files are laid out.

Shape suffixes: B batch, D dense features, H ids, W words of a record.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ttt.data.loader import Loader
from ttt.data.order import Ids, train_rows
from ttt.data.records import Words, open_part, pack
from ttt.protocols import Shard, Synthetic, World
from ttt.schema.data.clicks import ClickDataConfig

ClickBatch = tuple[Tensor, Tensor, Tensor]  # dense fp32 [B, D], ids int64 [B, H], labels fp32 [B]


@dataclass
class ClickLog(ClickDataConfig):
    """A click log and how it is read: the settings of `data`, with counts that are known."""

    train_samples: int = 0
    eval_samples: int = 0
    dense: int = 0
    rows: list[int] = field(default_factory=list)
    hots: list[int] = field(default_factory=list)

    def open(self, part: str) -> Words:
        """Map the records of a part; see `ttt.data.records.open_part`."""
        samples = self.train_samples if part == "train" else self.eval_samples
        meaning = {"dense": self.dense, "rows": list(self.rows), "hots": list(self.hots)}
        return open_part(Path(self.root), part, samples=samples, meaning=meaning)


class Clicks(Loader):
    """A click log, streamed.

    A batch is (dense float32 [B, D], ids int64 [B, H], labels float32 [B]), all on `world.device`.

    Args:
        world: Gives the device.
        settings: Those of `ttt.schema.data.clicks.ClickDataConfig`.
    """

    def __init__(self, *, world: World, **settings: Any) -> None:
        clicks = self._clicks = ClickLog(**settings)
        super().__init__(clicks)
        self._device = world.device

    def synthetic(self, shard: Shard) -> Synthetic:
        """Noise in every shape to come, as many batches on every shard."""
        part = self._clicks.global_batch // shard.count
        sizes = [len(ids) for ids in eval_parts(self._clicks, shard)]
        return Synthetic(
            train=[self._noise(part, shard) for _ in range(2)],
            eval=[self._noise(size, shard) for size in [*sizes[:1], *sizes[1:][-1:]]],
        )

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[ClickBatch]:
        """Endless batches; the files are opened for the first one asked for."""
        clicks = self._clicks
        samples, batch = clicks.train_samples, clicks.global_batch
        if clicks.shuffle:
            rows = train_rows(
                seed=seed, samples=samples, global_batch=batch, shard=shard, start=start
            )
            parts: Iterator[Ids] = (row.ids for row in rows)
        else:
            parts = in_order(samples=samples, global_batch=batch, shard=shard, start=start)
        yield from self._batches(clicks.open("train"), parts)

    def eval(self, shard: Shard) -> Iterator[ClickBatch]:
        """This shard's evaluation samples, each once, in as many batches as on any shard."""
        yield from self._batches(self._clicks.open("eval"), eval_parts(self._clicks, shard))

    def eval_ids(self, shard: Shard) -> Iterator[Ids]:
        """The samples of each batch of `eval`."""
        return eval_parts(self._clicks, shard)

    def _batches(self, records: Words, parts: Iterable[Ids]) -> Iterator[ClickBatch]:
        gathered = (self._gather(records, ids) for ids in parts)
        for words in ahead(gathered, self._clicks.prefetch, self._device):
            yield self._batch(words.to(self._device, non_blocking=True))

    def _gather(self, records: Words, ids: Ids) -> Tensor:
        words = torch.from_numpy(records[ids])
        return words.pin_memory() if self._device.type == "cuda" else words

    def _batch(self, words_BW: Tensor) -> ClickBatch:
        """Take records apart, on their device."""
        labels, dense, ids = words_BW.split([1, self._clicks.dense, sum(self._clicks.hots)], dim=1)
        return dense.view(torch.float32).contiguous(), ids.long(), labels[:, 0].float()

    def _noise(self, size: int, shard: Shard) -> ClickBatch:
        """Made-up records, taken apart as real ones; labels are of both kinds, for the metric."""
        clicks, random = self._clicks, np.random.default_rng(shard.index)
        rows_H = np.repeat(clicks.rows, clicks.hots)
        ids_BH = (random.random((size, len(rows_H))) * rows_H).astype(np.int64)
        labels = (np.arange(size) + shard.index) % 2
        records = pack(labels, random.standard_normal((size, clicks.dense), np.float32), ids_BH)
        words = self._gather(records, np.arange(size))
        return self._batch(words.to(self._device, non_blocking=True))


def in_order(*, samples: int, global_batch: int, shard: Shard, start: int = 0) -> Iterator[Ids]:
    """Endless batches of one shard in the order the samples lie in, epoch after epoch.

    As in `train_rows`, epochs follow each other without a seam, and shard i of W takes the i-th of
    W equal runs of each batch.
    """
    part = global_batch // shard.count
    for step in count(start):
        first = step * global_batch + shard.index * part
        yield np.arange(first, first + part, dtype=np.int64) % samples


def eval_parts(clicks: ClickLog, shard: Shard) -> Iterator[Ids]:
    """One shard's evaluation samples, a run of neighbours, in as many batches as on any shard.

    A model whose tables are divided among processes talks in every forward pass, so a shard with
    fewer samples ends with a batch that is smaller, or empty.
    """
    first, last = (clicks.eval_samples * i // shard.count for i in (shard.index, shard.index + 1))
    longest = -(-clicks.eval_samples // shard.count)
    for offset in range(0, longest, clicks.eval_batch):
        ends = (min(first + offset + size, last) for size in (0, clicks.eval_batch))
        yield np.arange(*ends, dtype=np.int64)


def ahead(batches: Iterator[Tensor], depth: int, device: torch.device) -> Iterator[Tensor]:
    """The same batches, made by one thread up to `depth` before they are asked for."""
    # A new thread begins on GPU 0, and pinning memory there would take some of that GPU's.
    begin = partial(torch.cuda.set_device, device) if device.type == "cuda" else None
    with ThreadPoolExecutor(1, "clicks", begin) as thread:
        pending = deque(thread.submit(next, batches, None) for _ in range(depth))
        while (batch := pending.popleft().result()) is not None:
            pending.append(thread.submit(next, batches, None))
            yield batch
