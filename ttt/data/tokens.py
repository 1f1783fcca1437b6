"""Sequences of tokens as batches, read from files of Megatron-LM a few batches ahead by one thread.

For sets of any size: of the tokens only those of a batch are read. Nothing below the root is opened
before the first batch is asked for. The layout of the files is known to `ttt.data.megatron`, the
order of samples to `ttt.data.gpt_order`.

Shape suffixes: B batch, S positions of a sequence.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttt.data.clicks import ahead
from ttt.data.gpt_order import Ids, Passes, Shuffle, Stream
from ttt.data.loader import Loader
from ttt.data.megatron import Indexed, open_indexed
from ttt.data.tokens_looks import miscounted
from ttt.errors import DataError
from ttt.protocols import Shard, Synthetic, World
from ttt.schema.data.tokens import TokensDataConfig

Rows = list[tuple[Stream, Ids]]  # of a batch: samples, and the stream that they are places in


class Tokens(NamedTuple):
    """A batch of sequences of one shard, on the device.

    Attributes:
        inputs: Token ids, int64 [B, S].
        labels: The token after each, int64 [B, S].
    """

    inputs: Tensor
    labels: Tensor


@dataclass
class TokenSet(TokensDataConfig):
    """A set of tokens and how it is read: the settings of `data`, with counts that are known."""

    vocabulary: int = 0
    train_samples: int = 0
    eval_samples: int = 0

    def open(self, part: str) -> Indexed:
        """Map the files of a part, "train" or "eval".

        Raises:
            DataError: They are absent or damaged, or have not the samples that are configured.
        """
        files = open_indexed(Path(self.root) / getattr(self, part))
        if wrong := miscounted(self, part, files):
            raise DataError(wrong)
        return files


class TokenData(Loader):
    """Sequences of tokens, streamed. Implements `ttt.protocols.Data`.

    A batch is `Tokens`. Step k trains on places [k * B, (k + 1) * B) of the shuffled samples, and
    shard i of W takes the i-th of W equal runs of them. After the samples of one shuffle come those
    of the next.

    Args:
        world: Gives the device.
        settings: Those of `ttt.schema.data.tokens.TokensDataConfig`.
    """

    def __init__(self, *, world: World, **settings: Any) -> None:
        tokens = self._set = TokenSet(**settings)
        super().__init__(tokens)
        self._device = world.device

    def synthetic(self, shard: Shard) -> Synthetic:
        """Noise in every shape to come, as many batches on every shard."""
        part = self._set.global_batch // shard.count
        last = Shard(shard.count - 1, shard.count)  # the one that would have an empty batch
        every = [*eval_batches(self._set, Shard()), *eval_batches(self._set, last)]
        sizes = dict.fromkeys(map(len, every))
        return Synthetic(
            train=[self._noise(part, shard) for _ in range(2)],
            eval=[self._noise(size, shard) for size in sizes],
        )

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Tokens]:
        """Endless batches from step `start` on; the first one asked for opens the files.

        Raises:
            DataError: The files are absent or damaged, or others than those configured.
        """
        files = self._set.open("train")
        batches = train_rows(self._set, files, shard, seed, start)
        yield from self._batches(self._gathered(files, rows) for rows in batches)

    def eval(self, shard: Shard) -> Iterator[Tokens]:
        """This shard's evaluation sequences, each once, in batches that any shards would make.

        Each shard has as many batches, because processes that share a model go through it together;
        the last one is empty where batches do not divide among the shards.

        Raises:
            DataError: As for `train`.
        """
        files = self._set.open("eval")
        stream = Stream(files.lengths)
        batches = eval_batches(self._set, shard)
        yield from self._batches(self._gathered(files, [(stream, ids)]) for ids in batches)

    def eval_ids(self, shard: Shard) -> list[Ids]:
        """The sequences of each batch of `eval`: places in the evaluation stream."""
        return eval_batches(self._set, shard)

    def _batches(self, gathered: Iterator[Tensor]) -> Iterator[Tokens]:
        for words in ahead(gathered, self._set.prefetch, self._device):
            yield self._batch(words)

    def _gathered(self, files: Indexed, rows: Rows) -> Tensor:
        """The tokens of some samples and the one after each, int32 [B, S + 1]."""
        S = self._set.sequence_length
        samples = [(stream, sample) for stream, ids in rows for sample in ids.tolist()]
        words = np.empty((len(samples), S + 1), np.int32)
        for row, (stream, sample) in zip(words, samples, strict=True):
            at = 0
            for document, begin, taken in stream.pieces(sample * S, S + 1):
                row[at : at + taken] = files.read(document, begin, taken)
                at += taken
        return self._pinned(torch.from_numpy(words))

    def _pinned(self, words: Tensor) -> Tensor:
        return words.pin_memory() if self._device.type == "cuda" else words

    def _batch(self, words: Tensor) -> Tokens:
        """Inputs and labels; half the bytes are copied, and the device widens them."""
        words = words.to(self._device, non_blocking=True)
        return Tokens(words[:, :-1].long(), words[:, 1:].long())

    def _noise(self, rows: int, shard: Shard) -> Tokens:
        """Made-up sequences, by the way that real ones take."""
        random = np.random.default_rng(shard.index)
        shape = (rows, self._set.sequence_length + 1)
        words = random.integers(self._set.vocabulary, size=shape, dtype=np.int32)
        return self._batch(self._pinned(torch.from_numpy(words)))


def train_rows(
    settings: TokenSet, files: Indexed, shard: Shard, seed: int, start: int
) -> Iterator[Rows]:
    """The samples of each of a shard's batches, which may be of two shuffles.

    Args:
        settings: Those of `data`.
        files: The training files.
        shard: Which part of each batch.
        seed: Of the run.
        start: First step, counted from 0; no earlier shuffle is drawn.
    """
    batch, planned = settings.global_batch, settings.planned_steps
    wanted = planned and planned * batch
    passes = Passes.of(files.total, settings.sequence_length, wanted)
    part, number = batch // shard.count, -1
    for step in count(start):
        place = step * batch + shard.index * part
        end, rows = place + part, []
        while place < end:
            asked, offset = divmod(place, passes.samples)
            if asked != number:
                number, now = asked, Shuffle.drawn(files.lengths, passes, seed=seed, number=asked)
            ids = now.order[offset : offset + end - place].astype(np.int64)
            rows.append((now.stream, ids))
            place += len(ids)
        yield rows


def eval_batches(settings: TokenSet, shard: Shard) -> list[Ids]:
    """One shard's evaluation batches: places in the evaluation stream, in its order.

    Batches are cut from the whole set and dealt whole, so that what is computed together does not
    depend on the number of shards.
    """
    firsts = range(0, settings.eval_samples, settings.eval_batch)
    cut = [
        np.arange(first, min(first + settings.eval_batch, settings.eval_samples), dtype=np.int64)
        for first in firsts
    ]
    cut += [np.empty(0, np.int64)] * (-len(cut) % shard.count)
    return cut[shard.index :: shard.count]
