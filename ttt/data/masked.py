"""The loader of masked sequences: TFRecord files in an order of the seed, read a few batches ahead.

Nothing is prepared and nothing is held but where the records of a few files begin. Every epoch has
an order of the files, drawn from the seed. `mixed` neighbours in it are shuffled together, and
batches follow each other through them without a seam. All shards know the same order, and shard
i of W reads the i-th of W equal runs of each batch: the samples of an update are the same on any
number of processes. The reference shuffles files, and samples in a buffer, in the same spirit.

Sequences differ in how many words they have to predict. All shards count those of the whole batch,
from its records, so that each word of it counts the same whichever process has it.

Shape suffixes: B batch, S positions, P predictions, W words of a sample.
"""
# ruff: noqa: N803 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttt.data import examples
from ttt.data.clicks import ahead
from ttt.data.examples import Column, Words
from ttt.data.formats import Damaged
from ttt.data.loader import Loader
from ttt.data.order import Ids, eval_ids
from ttt.errors import DataError
from ttt.flops.formulas import Lengths
from ttt.protocols import Shard, Synthetic, World
from ttt.schema.data.masked import MaskedDataConfig

_EPOCHS = 1 << 32  # streams of random numbers that are kept apart: files, then each group


class MaskedBatch(NamedTuple):
    """A batch on its device, int64 but for the weights.

    Attributes:
        words: Some of them masked, [B, S].
        mask: 1 where there is a word, [B, S].
        segments: Which text a word is of, [B, S].
        places: Places of the words to predict, [B, P].
        labels: These words, [B, P].
        weights: What the loss of a word to predict counts, 0 for padding, float32 [B, P]. Gradients
            are averaged over shards and over `accumulate` parts, which have unequal numbers of such
            words; with these weights the result is the mean over all words of the global batch.
        follows: 0 if the second text follows the first, 1 if it is a random one, [B].
    """

    words: Tensor
    mask: Tensor
    segments: Tensor
    places: Tensor
    labels: Tensor
    weights: Tensor
    follows: Tensor


class MaskedSequences(Loader):
    """Masked sequences, streamed. Implements `ttt.protocols.Data`.

    Args:
        world: Gives the device.
        settings: Those of `ttt.schema.data.masked.MaskedDataConfig`.
    """

    def __init__(self, *, world: World, **settings: Any) -> None:
        data = self._data = MaskedDataConfig(**settings)
        super().__init__(data)
        self._world = world
        self._device = world.device
        self._trained = [0, 0, 0, 0]  # samples here, their words, words squared, words to predict
        self._everywhere = self._trained  # the same of all processes, once `details` was called

    def synthetic(self, shard: Shard) -> Synthetic:
        """Noise in every shape to come."""
        part = self._data.global_batch // shard.count
        sizes = [len(ids) for ids in self.eval_ids(shard)]
        return Synthetic(
            train=[self._noise(part, shard) for _ in range(2)],
            eval=[self._noise(size, shard) for size in [*sizes[:1], *sizes[1:][-1:]]],
        )

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[MaskedBatch]:
        """Endless batches; the files are looked at for the first one asked for."""
        parts = self._data.accumulate * shard.count
        for words in self._ahead(self._train_words(shard, seed, start)):
            self._count(words)
            yield self._batch(words, parts)

    def eval(self, shard: Shard) -> Iterator[MaskedBatch]:
        """This shard's evaluation samples, each once."""
        for words in self._ahead(self._eval_words(shard)):
            yield self._batch(words, 1)

    def eval_ids(self, shard: Shard) -> Iterator[Ids]:
        """The samples of each batch of `eval`."""
        ids, size = eval_ids(self._data.eval_samples, shard), self._data.eval_batch
        for first in range(0, len(ids), size):
            yield ids[first : first + size]

    def details(self) -> dict[str, Any]:
        """`padding`: share of the positions in training that held no word."""
        samples, words, *_ = self._everywhere = self._world.replicas.sum(self._trained)
        return {"padding": 1 - words / (samples * self._data.length) if samples else None}

    def lengths(self) -> Lengths | None:
        """Means over the samples trained on; the target is the words to predict.

        Of all processes, as of the last `details`; None if no sample was trained on.
        """
        samples, *sums = self._everywhere
        if not samples:
            return None
        words, squared, predicted = (each / samples for each in sums)
        return Lengths(words, predicted, squared, predicted**2, words * predicted)

    def _train_words(self, shard: Shard, seed: int, start: int) -> Iterator[Words]:
        data = self._data
        part = data.global_batch // shard.count
        rows = ordered(data, seed, start * data.global_batch)
        while True:
            batch = [next(rows) for _ in range(data.global_batch)]
            yield self._read(batch, slice(shard.index * part, (shard.index + 1) * part))

    def _eval_words(self, shard: Shard) -> Iterator[Words]:
        file = Path(self._data.root) / self._data.eval
        where = examples.places(file)
        if len(where) != self._data.eval_samples:
            raise DataError(
                f"{file} has {len(where)} samples, but data.eval_samples={self._data.eval_samples};"
                f" type data.eval_samples={len(where)}, or data.root=DIR"
            )
        for ids in self.eval_ids(shard):
            yield self._read([(file, *place) for place in where[ids].tolist()], slice(None))

    def _read(self, rows: Sequence[Row], mine: slice) -> Words:
        """Samples of a batch, and after each how many words to predict the whole batch has."""
        data, records = self._data, _records(rows)
        samples, total = [], 0
        for number, (file, at, _) in enumerate(rows):
            try:
                total += examples.to_predict(records[number], data.predictions)
                if number in range(len(rows))[mine]:
                    samples.append(examples.parse(records[number], data.length, data.predictions))
            except Damaged as error:
                raise DataError(
                    f"{file}, byte {at}: {error}; data.length={data.length} and"
                    f" data.predictions={data.predictions} must be those of the files"
                ) from error
        words = np.stack(samples)
        if why := examples.strange(words, data.length, data.predictions, data.vocabulary):
            files = ", ".join(sorted({file.name for file, *_ in rows[mine]})[:3])
            raise DataError(f"a sample in {data.root} ({files}) is none: {why}; type data.root=DIR")
        return _counted(words, total)

    def _ahead(self, shares: Iterator[Words]) -> Iterator[Tensor]:
        yield from ahead(map(self._host, shares), self._data.prefetch, self._device)

    def _count(self, words_BW: Tensor) -> None:
        """Add up the lengths of samples, on the host."""
        length, predictions = self._data.length, self._data.predictions
        table = words_BW.numpy()
        words = table[:, length : 2 * length].sum(axis=1, dtype=np.int64)
        first = 3 * length + 2 * predictions
        predicted = table[:, first : first + predictions].sum()
        new = (len(table), words.sum(), (words**2).sum(), predicted)
        self._trained = [old + int(more) for old, more in zip(self._trained, new, strict=True)]

    def _host(self, words: Words) -> Tensor:
        tensor = torch.from_numpy(words)
        return tensor.pin_memory() if self._device.type == "cuda" else tensor

    def _batch(self, words_BW: Tensor, parts: int) -> MaskedBatch:
        """Take samples apart, on their device; one of so many parts of a global batch."""
        data = self._data
        sizes = [*examples.lengths(data.length, data.predictions).values(), 1]
        on_device = words_BW.to(self._device, non_blocking=True).long()
        words, mask, segments, places, labels, chosen, follows, total = on_device.split(sizes, 1)
        weights = chosen * (parts / total)
        return MaskedBatch(words, mask, segments, places, labels, weights, follows[:, 0])

    def _noise(self, size: int, shard: Shard) -> MaskedBatch:
        """Made-up samples without padding, taken apart as real ones."""
        data, random = self._data, np.random.default_rng(shard.index)
        tops = [data.vocabulary, 2, 2, data.length, data.vocabulary, 2, 2]
        sizes = examples.lengths(data.length, data.predictions).values()
        columns = [random.integers(0, top, (size, n)) for top, n in zip(tops, sizes, strict=True)]
        columns[1][:] = columns[5][:] = 1
        words = np.concatenate(columns, axis=1).astype(np.int32)
        words = _counted(words, size * data.predictions)
        return self._batch(self._host(words), 1)


Row = tuple[Path, int, int]  # file, where a record begins, and its bytes


def _records(rows: Sequence[Row]) -> list[bytes]:
    """The records of some rows in their order; each file is opened once."""
    numbers: dict[Path, list[int]] = {}
    for number, (file, *_) in enumerate(rows):
        numbers.setdefault(file, []).append(number)
    found: dict[int, bytes] = {}
    for file, theirs in numbers.items():
        read = examples.read(file, [rows[number][1:] for number in theirs])
        found |= dict(zip(theirs, read, strict=True))
    return [found[number] for number in range(len(rows))]


def _counted(samples: Words, words: int) -> Words:
    """Samples with the number of words to predict after each, at least 1."""
    last = np.full((len(samples), 1), max(1, words), np.int32)
    return np.concatenate([samples, last], axis=1)


def files_of(data: MaskedDataConfig) -> list[Path]:
    """The training files, sorted by name.

    Raises:
        DataError: There are none.
    """
    pattern = Path(data.root) / f"{data.train}*"
    found = sorted(path for path in pattern.parent.glob(pattern.name) if path.is_file())
    if not found:
        raise DataError(
            f"{pattern.parent} has no file whose name begins with {pattern.name[:-1]!r}: type"
            " data.root=DIR, or data.train=FOLDER/BEGINNING"
        )
    return found


def ordered(data: MaskedDataConfig, seed: int, first: int) -> Iterator[Row]:
    """Training samples without end, from the place `first` of the order that `seed` names.

    Raises:
        DataError: An epoch has another number of samples than `train_samples`.
    """
    files = files_of(data)
    epoch, first = divmod(first, data.train_samples)
    while True:
        seen = 0
        order = _random(seed, epoch, 0).permutation(len(files))
        for group, begin in enumerate(range(0, len(files), data.mixed), start=1):
            chosen = [files[number] for number in order[begin : begin + data.mixed]]
            where = [examples.places(file) for file in chosen]
            seen += sum(map(len, where))
            if first >= (count := sum(map(len, where))):
                first -= count
                continue
            for place in _random(seed, epoch, group).permutation(count)[first:].tolist():
                yield _row(chosen, where, place)
            first = 0
        if seen != data.train_samples:
            raise DataError(
                f"the {len(files)} training files of {data.root} have {seen} samples, but"
                f" data.train_samples={data.train_samples}; type data.train_samples={seen}"
            )
        epoch += 1


def _row(files: Sequence[Path], where: Sequence[Column], place: int) -> Row:
    """The sample at a place of some files laid end to end."""
    for file, each in zip(files, where, strict=True):
        if place < len(each):
            at, size = each[place].tolist()
            return file, at, size
        place -= len(each)
    raise AssertionError(place)


def _random(seed: int, epoch: int, group: int) -> np.random.Generator:
    """Random numbers of a stream of their own; see `ttt.data.order.epoch`."""
    key = np.array([seed, epoch * _EPOCHS + group], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
