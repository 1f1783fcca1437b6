"""Doubles for runs of the official benchmarks: made-up data, and qualities that cross the target.

All else of such a run is real: the benchmark's own settings, the model (made small), the optimizer,
the schedule, the loop, the watcher, the log. A batch has two samples and stands for DOUBLE_LEAP, so
that a run takes a few updates and two evaluations; the second gives DOUBLE_REACHES.
"""

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ttt.data.masked import MaskedBatch
from ttt.data.tokens import Tokens
from ttt.protocols import Batch, Shard, Synthetic, World
from ttt.tasks.image import ImageClassification
from ttt.tasks.language import Language
from ttt.tasks.masked_language import MaskedLanguage
from ttt.tasks.recommendation import ClickPrediction
from ttt.tasks.translation import Translation


class Data:
    """As large as the configuration says, and made of nothing."""

    steps_per_epoch: float | None

    def __init__(self, *, world: World, **settings: Any) -> None:
        self.train_samples: int = settings["train_samples"]
        self.eval_samples: int = settings["eval_samples"]
        self._leap = int(os.environ["DOUBLE_LEAP"])
        self.steps_per_epoch = self.train_samples / self._leap
        self._settings = settings

    def samples_after(self, step: int) -> int:
        return step * self._leap

    def steps_to(self, samples: int) -> int:
        return -(-samples // self._leap)

    def synthetic(self, shard: Shard) -> Synthetic:
        return Synthetic([self.batch()], [(0,)])

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Batch]:
        while True:
            yield self.batch()

    def eval(self, shard: Shard) -> Iterator[Batch]:
        yield (self.eval_samples,)

    def batch(self) -> Batch:
        raise NotImplementedError

    def skipped(self) -> frozenset[str]:
        return frozenset()

    def details(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


class Images(Data):
    def batch(self) -> tuple[Tensor, Tensor]:
        # With noise, two samples diverge at the learning rate of thousands; when, the CPU decides.
        return torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])


class Sentences(Data):
    steps_per_epoch = None

    def batch(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        words = torch.full((2, 4), 5)
        return words, words, words, torch.full((2,), 0.125)


class Clicks(Data):
    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        dense, hots = self._settings["dense"], sum(self._settings["hots"])
        ids = torch.zeros(2, hots, dtype=torch.int64)
        return torch.randn(2, dense), ids, torch.tensor([0.0, 1.0])


class Sequences(Data):
    def batch(self) -> Tokens:
        words = torch.full((2, 4), 5)
        return Tokens(words, words)


class Masked(Data):
    def batch(self) -> MaskedBatch:
        words, places = torch.full((2, 4), 5), torch.zeros(2, 1, dtype=torch.int64)
        ones, weights = torch.ones_like(words), torch.full((2, 1), 0.5)
        return MaskedBatch(words, ones, words % 2, places, places, weights, torch.tensor([0, 1]))


class Scripted:
    """A metric that misses the target at the first evaluation and reaches it at the second."""

    looks = 0

    def __init__(self, name: str) -> None:
        self.name, self._seen = name, 0

    def details(self) -> dict[str, str]:
        return {}

    def update(self, prediction: Any, batch: Batch) -> None:
        (self._seen,) = batch

    def compute(self, world: World) -> tuple[float, int]:
        Scripted.looks += self._seen > 0  # the warm-up's batch has no samples
        reaches = float(os.environ["DOUBLE_REACHES"])
        missed = 0.01 if self.name == "log_perplexity" else -0.01
        return reaches + (missed if Scripted.looks < 2 else 0.0), self._seen


def scripted(family: type, name: str) -> type:
    """The family's own task, judged by the script."""

    class Task(family):  # type: ignore[misc]
        def predict(self, model: nn.Module, batch: Batch) -> None:
            return None

        def metric(self) -> Scripted:
            return Scripted(name)

    return Task


ScriptedImages = scripted(ImageClassification, "top1")
ScriptedSentences = scripted(Translation, "bleu")
ScriptedClicks = scripted(ClickPrediction, "auc")
ScriptedSequences = scripted(Language, "log_perplexity")
ScriptedMasked = scripted(MaskedLanguage, "masked_accuracy")
