"""What the decoder asks of a part of a set, whichever way its images lie on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from ttt.data import images as folders
from ttt.data import shards
from ttt.data.images import ImageSet, Read
from ttt.data.order import Ids, eval_ids, plain_rows
from ttt.protocols import Shard


class Samples(Protocol):
    """The images of one part of a set; the place in it is the sample id."""

    def __len__(self) -> int:
        """Number of samples."""

    def read(self, ids: Ids, readers: Executor) -> Read:
        """Begin to read samples; the call returned waits for what a pipeline is fed, and labels.

        Args:
            ids: Which, int64 [B].
            readers: Threads that may be used.
        """

    def place(self, sample: int) -> str:
        """Where a sample lies, for machines: a file, or a file, a colon and a byte in it."""

    def name(self, sample: int) -> str:
        """Where a sample lies, for people."""

    def reason(self, sample: int) -> str:
        """Why a sample cannot be read, for people."""


def list_train(images: ImageSet) -> Samples:
    """List the training images.

    Raises:
        DataError: The set is absent, or is not the one that is configured.
    """
    if images.format == "folder":
        return folders.list_train(images)
    return shards.list_shards(images, "train_dir", "train_samples")


def list_eval(images: ImageSet) -> Samples:
    """List the evaluation images.

    Raises:
        DataError: The set is absent, or is not the one that is configured.
    """
    if images.format == "folder":
        return folders.list_eval(images)
    return shards.list_shards(images, "eval_dir", "eval_samples")


def places(samples: Samples, ids: Ids, root: str) -> list[str]:
    """Where samples lie below the root of their set."""
    return [os.path.relpath(samples.place(sample), root) for sample in ids.tolist()]


class EvalSamples:
    """Says which evaluation samples a shard has, and names them. Loaders of images inherit it.

    Args:
        images: The image set. Its evaluation images are listed at the first use.
    """

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self._eval_listing: Samples | None = None

    def eval_ids(self, shard: Shard) -> Iterator[Ids]:
        """The samples of each batch of `eval`."""
        ids = eval_ids(self._images.eval_samples, shard)
        return (rows.ids for rows in plain_rows(ids, self._images.eval_batch))

    def names(self, ids: Ids) -> list[str]:
        """The files of evaluation samples below the root, or their places in shards."""
        return places(self._listed(), ids, self._images.root)

    def _listed(self) -> Samples:
        if self._eval_listing is None:
            self._eval_listing = list_eval(self._images)
        return self._eval_listing


def one_image(images: ImageSet, path: Path) -> Samples:
    """A single image file, of class 0, for a pipeline that is fed what `images.format` gives."""
    return folders.one_file(path) if images.format == "folder" else shards.one_file(path)
