"""Sentence pairs as batches of token ids: read from the prepared form, padded, on the device.

Nothing below the root is opened before the first batch is asked for. What lies there is known to
`ttt.data.corpus`, and which sentences go together is decided in `ttt.data.buckets`.

Shape suffixes: B batch, S source positions, T target positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ttt.data.buckets import Ids, Plan, divide, eval_batches, plan
from ttt.data.corpus import Decode, Side, checked, decoder, references
from ttt.errors import MissingExtra
from ttt.flops.formulas import Lengths
from ttt.protocols import Shard, Synthetic, World
from ttt.special_tokens import EOS


class Pairs(NamedTuple):
    """A training batch of one shard, on the device.

    Attributes:
        source: Source words and EOS, int64 [B, S].
        target_in: BOS and target words, int64 [B, T].
        target_out: Target words and EOS, int64 [B, T].
        weight: What each row's summed loss counts, float32 [B]. DDP averages over shards and the
            learner over `accumulate` parts, of sums of unequal numbers of words; these weights make
            the result the mean over all words of the global batch.
    """

    source: Tensor
    target_in: Tensor
    target_out: Tensor
    weight: Tensor


class Sentences(NamedTuple):
    """An evaluation batch of one shard.

    Attributes:
        source: Source words and EOS, int64 [B, S], on the device.
        references: How people translated them, as they wrote it.
        decode: From lists of ids, without EOS, to text.
    """

    source: Tensor
    references: list[str]
    decode: Decode


class ParallelText:
    """A prepared set of sentence pairs. Implements `ttt.protocols.Data`.

    Args:
        world: Gives the device, and adds up what is known of the batches.
        root: The prepared folder.
        train_samples: Sentence pairs in an epoch.
        eval_samples: Sentences to translate.
        vocabulary: Token ids there are, special ones included.
        max_length: Tokens of the longest sentence trained on, EOS included; longer ones were left
            out when the set was prepared, and none of the evaluation set were.
        batch_by: What `global_batch` counts: target "tokens", EOS included, or "sentences".
        global_batch: Size of an update over all shards; tokens fill it as far as sentences go.
        eval_batch: Sentences translated at a time.
        pieces: Runs of like length that make a global batch; see `ttt.data.buckets.plan`.
        accumulate: Parts the learner takes a batch apart into.

    Raises:
        MissingExtra: sentencepiece is not installed.
    """

    steps_per_epoch = None  # unknown until the lengths are read

    def __init__(  # noqa: PLR0913 - each is one setting of the configuration
        self,
        *,
        world: World,
        root: str,
        train_samples: int,
        eval_samples: int,
        vocabulary: int,
        max_length: int,
        batch_by: Literal["tokens", "sentences"],
        global_batch: int,
        eval_batch: int,
        pieces: int,
        accumulate: int,
    ) -> None:
        try:
            import sentencepiece  # noqa: F401, PLC0415 - imported off the clock
        except ImportError as error:
            raise MissingExtra("sentencepiece", "text", "reading tokens as text") from error
        self.train_samples = train_samples
        self.eval_samples = eval_samples
        self._world = world
        self._root = Path(root)
        self._vocabulary = vocabulary
        self._max_length = max_length
        self._by_tokens = batch_by == "tokens"
        self._global_batch = global_batch
        self._eval_batch = eval_batch
        self._pieces = pieces
        self._accumulate = accumulate
        self._seed: int | None = None  # the order follows from it; `train` gives it
        self._train: _Training | None = None
        self._eval: _Evaluation | None = None
        self._padding = [0, 0]  # positions without a word, and all of them

    def samples_after(self, step: int) -> int:
        """Sentence pairs used by this many updates, over all shards."""
        return self._training().plan.samples_after(step)

    def steps_to(self, samples: int) -> int:
        """The least number of updates that use this many sentence pairs."""
        return self._training().plan.steps_to(samples)

    def synthetic(self, shard: Shard) -> Synthetic:
        """Noise in the largest shapes a run can see and in some smaller ones, largest first.

        Text comes in more shapes than could be tried. What is reserved for the largest serves them
        all, and a compiler that has seen three lengths makes code for any. What is alike in all
        batches it takes for fixed, and compiles again on the clock where a batch differs. So only
        the first batch has sources and targets of one length, none has one tensor for both, and
        numbers of rows differ.
        """
        lengths = sorted({max(2, self._max_length // part) for part in (1, 2, 4)}, reverse=True)
        train = []
        for number, length in enumerate(lengths):
            rows = self._global_batch // length if self._by_tokens else self._global_batch
            part = max(1, rows // shard.count - number)
            [source] = self._noise(part, max(2, length - number), tables=1)
            inputs, expected = self._noise(part, length, tables=2)
            weight = torch.full((part,), 1 / (part * length), device=self._world.device)
            train.append(Pairs(source, inputs, expected, weight))
        [sources] = self._noise(self._eval_batch, self._max_length, tables=1)
        sentences = Sentences(sources, [""] * self._eval_batch, lambda ids: [""] * len(ids))
        return Synthetic(train=train, eval=[sentences])

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Pairs]:
        """Endless batches from step `start` on; the first one asked for opens the set.

        From here on batches are counted in the order of this seed.

        Raises:
            DataError: The set is not there, damaged, or not the one that is configured.
        """
        if seed != self._seed:
            self._seed, self._train = seed, None
        return self._batches(shard, start)

    def eval(self, shard: Shard) -> Iterator[Sentences]:
        """This shard's sentences, in whole batches that any number of shards would make the same.

        Raises:
            DataError: As for `train`.
        """
        evaluation = self._evaluation()
        for ids in self.eval_ids(shard):
            [source] = _on_device([evaluation.source.table(ids, eos=True)], self._world.device)
            theirs = [evaluation.references[i] for i in ids]
            yield Sentences(source, theirs, evaluation.decode)

    def eval_ids(self, shard: Shard) -> list[Ids]:
        """The sentences of each batch of `eval`: places in the evaluation set."""
        return eval_batches(self._evaluation().source.lengths, self._eval_batch, shard)

    def names(self, ids: Ids) -> list[str]:
        """Lines of the evaluation set, counted from 1."""
        return [str(line) for line in (ids + 1).tolist()]

    def skipped(self) -> frozenset[str]:
        """Nothing is ever replaced: what cannot be read is an error."""
        return frozenset()

    def details(self) -> dict[str, Any]:
        """`padding`: share of the positions, source and target, that held no word in training."""
        without, every = self._world.replicas.sum(self._padding)
        return {"padding": without / every if every else None}

    def lengths(self) -> Lengths:
        """Means over the training set; asked once, after the clock has stopped."""
        training = self._training()
        source = training.source.lengths.astype(np.float64) + 1
        target = training.target.lengths.astype(np.float64) + 1
        parts = (source, target, source**2, target**2, source * target)
        return Lengths(*(float(part.mean()) for part in parts))

    def close(self) -> None:
        """Let go of the files."""
        self._train = self._eval = None

    def _batches(self, shard: Shard, start: int) -> Iterator[Pairs]:
        training = self._training()
        for rows in training.plan.batches(start):
            yield self._pairs(training, rows, shard)

    def _training(self) -> _Training:
        """The training set, opened and planned when first asked for."""
        assert self._seed is not None  # of `train`
        if self._train is None:
            dtype = self._checked("train", self.train_samples)
            source, target = (Side.open(self._root, f"train.{s}", dtype) for s in ("src", "trg"))
            order = plan(
                source.lengths + 1,
                target.lengths + 1,
                seed=self._seed,
                batch=self._global_batch,
                by_tokens=self._by_tokens,
                pieces=self._pieces,
            )
            self._train = _Training(source, target, order)
        return self._train

    def _evaluation(self) -> _Evaluation:
        """The evaluation set, opened when first asked for."""
        if self._eval is None:
            dtype = self._checked("eval", self.eval_samples)
            side = Side.open(self._root, "eval.src", dtype)
            self._eval = _Evaluation(side, references(self._root), decoder(self._root))
        return self._eval

    def _pairs(self, training: _Training, rows: Ids, shard: Shard) -> Pairs:
        """One shard's part of the global batch that these sentences make."""
        source, target = training.source, training.target
        words = target.lengths[rows] + 1
        part = divide(source.lengths[rows] + 1, words, shard)
        mine = rows[part.rows]
        tables = [
            source.table(mine, eos=True),
            target.table(mine, bos=True),
            target.table(mine, eos=True),
        ]
        every = tables[0].size + tables[2].size
        self._padding[0] += every - int((source.lengths[mine] + target.lengths[mine] + 2).sum())
        self._padding[1] += every
        share = self._accumulate * shard.count / int(words.sum()) if part.counts else 0.0
        weight = torch.full((len(mine),), share, device=self._world.device)
        inputs, previous, expected = _on_device(tables, self._world.device)
        return Pairs(inputs, previous, expected, weight)

    def _checked(self, part: str, samples: int) -> str:
        """The data type of the tokens of a set that is the one the run says it uses."""
        return checked(
            self._root,
            {
                f"{part}_samples": samples,
                "vocabulary": self._vocabulary,
                "max_length": self._max_length,
            },
        )

    def _noise(self, rows: int, length: int, *, tables: int) -> list[Tensor]:
        """Equal tables of made-up words, on the device by the way that real ones take."""
        words = np.random.default_rng(length).integers(EOS + 1, self._vocabulary, (rows, length))
        words[:, -1] = EOS
        return _on_device([words] * tables, self._world.device)


class _Training(NamedTuple):
    """The training set, and who comes when."""

    source: Side
    target: Side
    plan: Plan


class _Evaluation(NamedTuple):
    """The evaluation set, and how ids become text."""

    source: Side
    references: list[str]
    decode: Decode


def _on_device(tables: Sequence[Ids], device: torch.device) -> list[Tensor]:
    """Tables on the device, by one copy that the host does not wait for."""
    flat = torch.from_numpy(np.concatenate([table.ravel() for table in tables]))
    if device.type == "cuda":
        flat = flat.pin_memory().to(device, non_blocking=True)
    pieces = flat.split([table.size for table in tables])
    return [piece.view(table.shape) for piece, table in zip(pieces, tables, strict=True)]
