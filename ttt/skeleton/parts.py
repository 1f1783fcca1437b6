"""The parts of a benchmark: a data set and its preparation, a model, and a task.

`ttt new` wrote this file. Unchanged, it learns for points in the plane whether their two
coordinates have the same sign. Replace data, model and loss by your own, one after the other. The
YAML files beside this file name its classes and hold their settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt.data.order import eval_ids, plain_rows, train_rows
from ttt.metrics.accuracy import Top1
from ttt.protocols import Metric, Shard, Synthetic, World

Batch = tuple[Tensor, Tensor]  # points float32 [B, 2], classes int64 [B]; yours may be anything


def prepare(out: Path) -> None:
    """Make the data set; ttt calls this before the clock runs, if `data.root` is missing.

    If people bring the data, remove this and `prepare:` in data/*.yaml.
    """
    random = np.random.RandomState(0)
    out.mkdir(parents=True)
    for part, count in (("train", 8192), ("eval", 2000)):
        points = random.uniform(-1, 1, (count, 2)).astype(np.float32)
        classes = (points[:, 0] * points[:, 1] > 0).astype(np.int64)
        np.savez(out / f"{part}.npz", points=points, classes=classes)


class Data:
    """Which samples go to which process, in which order. Implements `ttt.protocols.Data`.

    The constructor and `synthetic` open no file: the clock does not run yet, and ttt ends a run
    that touches its data before.

    Args:
        world: This process's place; `world.device` is where batches go.
        root: Folder of the data set.
        train_samples: Samples to train on.
        eval_samples: Samples to evaluate on.
        global_batch: Samples of an update, over all processes.
        eval_batch: Samples a process evaluates at a time.
    """

    def __init__(
        self,
        *,
        world: World,
        root: str,
        train_samples: int,
        eval_samples: int,
        global_batch: int,
        eval_batch: int,
    ) -> None:
        self.train_samples, self.eval_samples = train_samples, eval_samples
        self.steps_per_epoch = train_samples / global_batch
        self._root, self._device = Path(root), world.device
        self._global_batch, self._eval_batch = global_batch, eval_batch

    def train(self, shard: Shard, seed: int, *, start: int = 0) -> Iterator[Batch]:
        """Endless batches from step `start` on; `train_rows` shuffles each epoch by the seed."""
        points, classes = self._read("train", self.train_samples)
        rows = train_rows(
            seed=seed,
            samples=self.train_samples,
            global_batch=self._global_batch,
            shard=shard,
            start=start,
        )
        for row in rows:
            ids = torch.from_numpy(row.ids).to(self._device)
            yield points[ids], classes[ids]

    def eval(self, shard: Shard) -> Iterator[Batch]:
        """This process's part of the evaluation set: over all processes each sample once."""
        points, classes = self._read("eval", self.eval_samples)
        for row in plain_rows(eval_ids(self.eval_samples, shard), self._eval_batch):
            ids = torch.from_numpy(row.ids).to(self._device)
            yield points[ids], classes[ids]

    def synthetic(self, shard: Shard) -> Synthetic:
        """A batch of noise in every later shape, so that slow first calls happen off the clock."""
        sizes = {
            len(row.ids) for row in plain_rows(eval_ids(self.eval_samples, shard), self._eval_batch)
        }
        train = [self._noise(self._global_batch // shard.count) for _ in range(2)]
        return Synthetic(train, [self._noise(size) for size in sizes])

    def samples_after(self, step: int) -> int:
        """Training samples used by this many updates, over all processes."""
        return step * self._global_batch

    def steps_to(self, samples: int) -> int:
        """The least number of updates that use this many training samples."""
        return -(-samples // self._global_batch)

    def skipped(self) -> frozenset[str]:
        """Samples that could not be read and were replaced; here none ever is."""
        return frozenset()

    def details(self) -> dict[str, Any]:
        """What else the summary is to say of the data."""
        return {}

    def close(self) -> None:
        """Let go of files and threads."""

    def _noise(self, size: int) -> Batch:
        points = torch.randn(size, 2, device=self._device)
        return points, torch.zeros(size, dtype=torch.int64, device=self._device)

    def _read(self, part: str, samples: int) -> Batch:
        with np.load(self._root / f"{part}.npz") as arrays:
            points, classes = (arrays[name][:samples] for name in ("points", "classes"))
        return (
            torch.from_numpy(points).to(self._device),
            torch.from_numpy(classes).to(self._device),
        )


class Model(nn.Sequential):
    """Any `nn.Module`: what it is called with is up to the task.

    Args:
        width: Units of the hidden layer.
    """

    def __init__(self, *, width: int) -> None:
        super().__init__(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))


class Task:
    """What the model learns, and how it is judged. Implements `ttt.protocols.Task`."""

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss that training makes small, a mean over the samples of this batch."""
        points, classes = batch
        return F.cross_entropy(model(points).float(), classes)

    def predict(self, model: nn.Module, batch: Batch) -> Any:
        """The prediction that the metric gets, with the batch."""
        return model(batch[0])

    def metric(self) -> Metric:
        """A new metric; its name is `target.metric`. Read ttt/metrics/accuracy.py for your own."""
        return Top1()
