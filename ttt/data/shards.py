"""Images packed into a few large files, read by byte range in any order.

An index says where each sample's record begins, so a shard is a folder of images without the cost
of a folder: an open file each. What is read when is decided where it is for folders, by
`ttt.data.order`, and the bytes go into the same decoder; so a run has the same properties on every
format: one order for any number of ranks, every sample once an epoch, resumed anywhere for nothing.

DALI's own readers of these formats (fn.readers.tfrecord, webdataset, mxnet) read a shard from its
beginning to its end and shuffle within a buffer. That is what a disk with a moving arm needs; it
makes the order depend on the number of readers, and resuming read all that was read before. On
flash, from a parallel file system or out of the page cache, reading 100 kB at a time in any order
is not what limits a decoder: of 30 kB photographs in memory, two cores took 55,000 a second out of
shards by the threads below and 92,000 out of folders by DALI's, and decoded and scaled 2,100.

Here is what the loader needs of a format's index; what a record looks like inside is
`ttt.data.formats`.
"""

from __future__ import annotations

import os
import resource
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ttt.data.formats import SUFFIX, Damaged, Labelled, parse_recordio, parse_tfrecord
from ttt.data.images import ImageSet, Read
from ttt.data.listing import SUFFIXES, is_litter
from ttt.data.order import Ids
from ttt.errors import DataError

# Reads under way at once. They wait more than they compute, so this has little to do with cores.
READERS = 8
_SPARE_FILES = 64  # descriptors left to everybody else

Column = npt.NDArray[np.int64]
Parse = Callable[[memoryview, int], Labelled]  # of a record's bytes and the sample's id


class Index(NamedTuple):
    """Where the records of one file are.

    Attributes:
        at: Where each begins, in bytes, int64 [N].
        length: How long it is, in bytes, int64 [N].
        inside: Only WebDataset: where in it the image and the class are, as begin and length of
            either, int64 [N, 4].
    """

    at: Column
    length: Column
    inside: Column


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

    def name(self, sample: int) -> str:
        """Where a sample lies, for people."""
        return f"{self.files[self.file[sample]]}, the record at byte {self.at[sample]},"

    def reason(self, sample: int) -> str:
        """Why a sample cannot be read, for people."""
        try:
            self._take(sample)
        except (OSError, Damaged) as error:
            return str(error)
        return "it is no image, or a damaged or truncated one"

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
                raise DataError(
                    f"{self.name(sample)} has the class {label}; allowed:"
                    f" {self.first_label} to {self.first_label + self.classes - 1}, since"
                    f" data.first_label={self.first_label} and data.classes={self.classes};"
                    f" data.first_label={1 - self.first_label} if that is what the files begin at"
                )
            taken.append((np.frombuffer(image, np.uint8), label - self.first_label))
        return taken

    def _take(self, sample: int) -> Labelled:
        length = int(self.length[sample])
        data = os.pread(self._descriptor(int(self.file[sample])), length, int(self.at[sample]))
        if len(data) != length:
            raise Damaged("the file ends before it")
        return self.parse(memoryview(data), sample)

    def _descriptor(self, file: int) -> int:
        with self._lock:
            if file not in self._open:
                self._open[file] = os.open(self.files[file], os.O_RDONLY)
            return self._open[file]


def _close(descriptors: dict[int, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)


def list_shards(images: ImageSet, part: str, key: str, samples: int) -> Shards:
    """The samples of one part of a set, in the order of file names and of places in a file.

    Args:
        images: Where and in which format.
        part: A folder in `images.root`, or what the names of its files begin with.
        key: The setting that says so.
        samples: How many there must be.

    Raises:
        DataError: There is no index, one is damaged or of another file, or the count is another.
    """
    root = Path(images.root)
    folder = root / part
    pattern = str(folder / "*.idx") if folder.is_dir() else f"{folder}*.idx"
    where = (folder, "") if folder.is_dir() else (folder.parent, folder.name)
    indexes = _indexes(*where)
    if not indexes:
        raise DataError(
            f"{pattern} finds no index: data.format={images.format} needs one for each file, of the"
            f" same name and beside it, as `ttt data imagenet --format {images.format}` or DALI's"
            f" tool makes it; data.root=DIR, data.{key}=NAME or data.format=folder"
        )
    files = [_file_of(path, images.format) for path in indexes]
    columns = [
        _read_index(path, file, images.format) for path, file in zip(indexes, files, strict=True)
    ]
    at, length, inside = (np.concatenate(column) for column in zip(*columns, strict=True))
    if len(at) != samples:
        samples_key = "train_samples" if key == "train_dir" else "eval_samples"
        raise DataError(
            f"{pattern} lists {len(at)} images, but data.{samples_key}={samples}: complete the set"
            f" or type data.{samples_key}={len(at)}"
        )
    _allow_open_files(len(files))
    file = np.repeat(np.arange(len(files)), [len(one.at) for one in columns])
    first = images.first_label
    if first is None:
        first = 1 if images.format == "tfrecord" else 0
    return Shards(files, file, at, length, _parser(images.format, inside), first, images.classes)


def _indexes(folder: Path, begin: str) -> list[Path]:
    """The indexes in a folder whose names begin so, sorted; none if there is no folder."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix == ".idx" and path.is_file())
    return sorted(
        path
        for path in found
        if path.name.startswith(begin) and not is_litter(os.fsencode(path.name))
    )


def one_file(path: Path) -> Shards:
    """A file that is an image and nothing else, of class 0."""
    zero = np.zeros(1, np.int64)
    length = np.array([path.stat().st_size])
    return Shards([path], zero, zero, length, lambda image, _: Labelled(image, 0), 0, 1)


def _parser(kind: str, inside: Column) -> Parse:
    if kind == "tfrecord":
        return lambda record, _: parse_tfrecord(record)
    if kind == "recordio":
        return lambda record, _: parse_recordio(record)

    def take(record: memoryview, sample: int) -> Labelled:
        image, image_length, label, label_length = inside[sample].tolist()
        text = bytes(record[label : label + label_length])
        if not text.strip().isdigit():
            raise Damaged(f"its class is {text[:20]!r}, no number")
        return Labelled(record[image : image + image_length], int(text))

    return take


def _file_of(index: Path, kind: str) -> Path:
    """The file an index is of: its own name without .idx, or with the format's suffix instead."""
    plain, usual = index.with_suffix(""), index.with_suffix(SUFFIX[kind])
    for path in (plain, usual):
        if path.is_file():
            return path
    raise DataError(f"{index} has neither {plain.name} nor {usual.name} beside it")


def _read_index(path: Path, file: Path, kind: str) -> Index:
    size = file.stat().st_size
    nothing = np.empty((0, 4), np.int64)
    try:
        if kind == "webdataset":
            index = _webdataset_index(path.read_text("utf-8-sig"))
        else:
            table = np.loadtxt(path, dtype=np.int64, ndmin=2, comments=None, encoding="utf-8-sig")
            if kind == "tfrecord":
                at, length = table.T
            else:  # keys need not be in order, and a record ends where the next one begins
                at = np.sort(table.T[1])
                length = np.diff(at, append=size)
            index = Index(at, length, nothing)
    except (ValueError, IndexError) as error:
        raise DataError(f"{path} is no index of {file.name}: {error}") from error
    if len(index.at) and (index.at + index.length).max() > size:
        raise DataError(
            f"{path} goes to byte {(index.at + index.length).max()} and {file.name} has {size}:"
            " one of them is of another file, or cut short; make the index again"
        )
    return index


def _webdataset_index(text: str) -> Index:
    """From lines of (suffix, begin, length, name) for each member of a sample."""
    head, *lines = text.splitlines()
    version, count = head.split()
    columns = {"v1.1": 3, "v1.2": 4}.get(version)
    if columns is None or int(count) != len(lines):
        raise ValueError(f"it begins with {head!r} and has {len(lines)} lines after that")
    rows = np.empty((len(lines), 4), np.int64)
    for row, line in zip(rows, lines, strict=True):
        words = line.split()
        members = {
            words[i]: (int(words[i + 1]), int(words[i + 2])) for i in range(0, len(words), columns)
        }
        image = next((at for name, at in members.items() if f".{name}".encode() in SUFFIXES), None)
        if image is None or "cls" not in members:
            raise ValueError(f"{line!r} has no image or no cls")
        row[:] = (*image, *members["cls"])
    at = rows[:, [0, 2]].min(axis=1)
    end = np.maximum(rows[:, 0] + rows[:, 1], rows[:, 2] + rows[:, 3])
    rows[:, [0, 2]] -= at[:, None]
    return Index(at, end - at, rows)


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
