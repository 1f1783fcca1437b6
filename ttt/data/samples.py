"""What the decoder asks of a part of a set, whichever way its images lie on disk."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

from ttt.data import images as folders
from ttt.data import shards
from ttt.data.images import ImageSet, Read
from ttt.data.order import Ids


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


def one_image(images: ImageSet, path: Path) -> Samples:
    """A single image file, of class 0, for a pipeline that is fed what `images.format` gives."""
    return folders.one_file(path) if images.format == "folder" else shards.one_file(path)
