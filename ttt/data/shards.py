"""Images packed into a few large files, read by byte range in any order.

An index says where each sample's record begins, so a shard is a folder of images without the cost
of a folder: an open file each. `ttt.data.order` decides what is read when, as it does for folders,
and the bytes go into the same decoder. So a run has the same properties on every format: one order
for any number of ranks, every sample once an epoch, resumed anywhere for nothing.

DALI's own readers of these formats (fn.readers.tfrecord, webdataset, mxnet) read a shard from its
beginning to its end and shuffle within a buffer. That is what a disk with a moving arm needs. It
makes the order depend on the number of readers, and resuming reads all that was read before. On
flash, from a parallel file system or out of the page cache, reading 100 kB at a time in any order
does not limit a decoder. Of 30 kB photographs in memory, two cores took 55,000 a second out of
shards by the threads below, and 92,000 out of folders by DALI's. They decoded and scaled 2,100.

Where records are is `ttt.data.indexes`, what one looks like inside `ttt.data.formats`.
"""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ttt.data import heads
from ttt.data.formats import Damaged, Labelled
from ttt.data.images import ImageSet, Read
from ttt.data.indexes import (
    Column,
    Parse,
    first_label_of,
    open_part,
    out_of_range,
    parser,
    record_name,
    take,
)
from ttt.data.order import Ids
from ttt.errors import DataError

# Reads under way at once. They wait more than they compute, so this has little to do with cores.
READERS = 8
_SPARE_FILES = 64  # descriptors left to others


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Shards:
    """The images of some files. Implements `ttt.data.samples.Samples`.

    Attributes:
        files: What holds the records.
        file: Which of them holds each sample, int64 [N].
        at: Where each record begins, in bytes, int64 [N].
        length: How long it is, in bytes, int64 [N].
        parse: Finds image and class in a record.
        first_label: What the files call the first class.
        classes: How many there may be.
    """

    files: Sequence[Path]
    file: Column
    at: Column
    length: Column
    parse: Parse
    first_label: int
    classes: int
    _open: dict[int, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        weakref.finalize(self, _close, self._open)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.at)

    def read(self, ids: Ids, readers: Executor) -> Read:
        """Begin to read samples; the call returned waits for ([image bytes], labels int64 [B])."""
        parts = [part for part in np.array_split(ids, READERS) if len(part)]
        begun = [readers.submit(self._some, part) for part in parts]

        def wait() -> tuple[tuple[Any, ...], Column]:
            images, labels = zip(*(one for part in begun for one in part.result()), strict=True)
            return (list(images),), np.array(labels, np.int64)

        return wait

    def place(self, sample: int) -> str:
        """The file of a sample and the byte at which its record begins."""
        return f"{self.files[self.file[sample]]}:{self.at[sample]}"

    def name(self, sample: int) -> str:
        """Where a sample lies, for people."""
        return record_name(self.files[self.file[sample]], int(self.at[sample]))

    def reason(self, sample: int) -> str:
        """Why a sample cannot be read, for people."""
        try:
            image = bytes(self._take(sample).image)
        except (OSError, Damaged) as error:
            return str(error)
        return heads.verdict(image, image, len(image), lambda _: image) or heads.DAMAGED

    def _some(self, ids: Ids) -> list[tuple[npt.NDArray[np.uint8], int]]:
        """Samples one after the other; one that is no record has no bytes, which no decoder takes.

        Raises:
            DataError: A class is out of range.
        """
        taken = []
        for sample in ids.tolist():
            try:
                image, label = self._take(sample)
            except (OSError, Damaged):
                taken.append((np.empty(0, np.uint8), 0))
                continue
            if not 0 <= label - self.first_label < self.classes:
                name = self.name(sample)
                raise DataError(out_of_range(name, label, self.first_label, self.classes))
            taken.append((np.frombuffer(image, np.uint8), label - self.first_label))
        return taken

    def _take(self, sample: int) -> Labelled:
        descriptor = self._descriptor(int(self.file[sample]))
        return take(descriptor, int(self.at[sample]), int(self.length[sample]), self.parse, sample)

    def _descriptor(self, file: int) -> int:
        with self._lock:
            if file not in self._open:
                self._open[file] = os.open(self.files[file], os.O_RDONLY)
            return self._open[file]


def _close(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


def list_shards(images: ImageSet, key: str, samples_key: str) -> Shards:
    """The samples of one part of a set, in the order of file names and of places in a file.

    Args:
        images: Where and in which format.
        key: The setting that names a folder in `images.root`, or what the part's files begin with.
        samples_key: And the one that says how many there must be.

    Raises:
        DataError: There is no index, one is damaged or of another file, or the count is another.
    """
    part = open_part(images, key, samples_key)
    if part.wrong:
        raise DataError(*part.wrong)
    at, length, inside = (np.concatenate(column) for column in zip(*part.indexes, strict=True))
    _allow_open_files(len(part.files))
    file = np.repeat(np.arange(len(part.files)), [len(one.at) for one in part.indexes])
    parse = parser(images.format, inside)
    return Shards(part.files, file, at, length, parse, first_label_of(images), images.classes)


def one_file(path: Path) -> Shards:
    """A file that is an image and nothing else, of class 0."""
    zero = np.zeros(1, np.int64)
    length = np.array([path.stat().st_size])
    return Shards([path], zero, zero, length, lambda image, _: Labelled(image, 0), 0, 1)


def _allow_open_files(count: int) -> None:
    """Every shard stays open; ImageNet's usual 1,024 are all a process may have by default.

    Raises:
        DataError: The system does not allow as many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + count + _SPARE_FILES
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if wanted > hard != resource.RLIM_INFINITY:
        raise DataError(
            f"{count} files must be open at once and this process may open {hard} (ulimit -Hn):"
            f" raise that limit to {wanted}, or pack the set into fewer files"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
