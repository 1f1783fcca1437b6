"""Finds the images of shards: reads the indexes beside the files and checks them. NumPy only.

`ttt.data.formats` knows the inside of a record; `ttt.data.shards` decides who reads which record.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ttt.data import bounds
from ttt.data.formats import SUFFIX, Damaged, Labelled, parse_recordio, parse_tfrecord
from ttt.data.listing import SUFFIXES, is_litter
from ttt.data.manifest import MANIFEST, content
from ttt.errors import DataError

_HEAD = 1 << 16  # bytes by which an index may be longer than what it is of
_DIGITS = 20  # of a class that is written out

Column = npt.NDArray[np.int64]
Parse = Callable[[memoryview, int], Labelled]  # of a record's bytes and the sample's place


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


@dataclass(slots=True)
class Part:
    """The shards of one part of a set.

    Attributes:
        pattern: What its indexes are called.
        files: The files that have a sound index.
        indexes: Those of `files`.
        wrong: A sentence for each fault.
    """

    pattern: str
    files: list[Path] = field(default_factory=list)
    indexes: list[Index] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Images that the indexes list."""
        return sum(len(index.at) for index in self.indexes)


def open_part(images: Any, key: str, samples_key: str | None = None) -> Part:
    """The indexes of one part of a set, in the order of file names.

    Args:
        images: Where, how many and in which format: an `ImageSet`, or the settings of one. A count
            that is None is to be counted.
        key: The setting that names the part.
        samples_key: And the one that counts its images; None if that is not asked.
    """
    folder = Path(images.root) / getattr(images, key)
    inside = folder.is_dir()
    part = Part(str(folder / "*.idx") if inside else f"{folder}*.idx")
    try:
        found = _indexes(*((folder, "") if inside else (folder.parent, folder.name)))
    except OSError as error:
        part.wrong.append(f"{error.filename} cannot be listed: {error.strerror}; data.root=DIR")
        return part
    if not found:
        part.wrong.append(
            f"{part.pattern} finds no index: data.format={images.format} needs one for each file,"
            f" of the same name and beside it, as `{_command(Path(images.root))}"
            f" --format {images.format}` or DALI's tool makes it; data.root=DIR, data.{key}=NAME or"
            " data.format=folder"
        )
    for path in found:
        try:
            file = _file_of(path, images.format)
            index = _read_index(path, file, images.format)
        except DataError as error:
            part.wrong.append(str(error))
        else:
            part.files.append(file)
            part.indexes.append(index)
    asked = getattr(images, samples_key) if samples_key else None
    if not part.wrong and asked not in (None, part.count):
        part.wrong.append(
            f"{part.pattern} lists {part.count} images, but data.{samples_key}={asked}: complete"
            f" the set or type data.{samples_key}={part.count}"
        )
    return part


def _command(root: Path) -> str:
    """The command that makes such shards: `ttt data images`, if the manifest is of its kind."""
    manifest = root / MANIFEST
    try:
        own = manifest.is_file() and "sizes" in content(manifest)
    except DataError:
        own = False
    return f"ttt data {'images' if own else 'imagenet'}"


def first_label_of(images: Any) -> int:
    """What the files call the first class."""
    if images.first_label is None:
        return 1 if images.format == "tfrecord" else 0
    return int(images.first_label)


def out_of_range(name: str, label: int, first: int, classes: int) -> str:
    """A sentence about a class that there is not."""
    return (
        f"{name} has the class {label}; allowed: {first} to {first + classes - 1}, since"
        f" data.first_label={first} and data.classes={classes}; data.first_label={1 - first} if"
        " that is what the files begin at"
    )


def record_name(file: Path, at: int) -> str:
    """Where a record lies, for people."""
    return f"{file}, the record at byte {at},"


def take(descriptor: int, at: int, length: int, parse: Parse, place: int) -> Labelled:
    """Read one record and take it apart.

    Raises:
        OSError: It cannot be read.
        Damaged: It is no record, or the file ends before it does.
    """
    data = os.pread(descriptor, length, at)
    if len(data) != length:
        raise Damaged("the file ends before it")
    return parse(memoryview(data), place)


def ends(file: Path, index: Index, kind: str) -> Iterator[tuple[int, Labelled | str]]:
    """The first and the last record of a file: where it begins, and it or what is wrong with it."""
    parse = parser(kind, index.inside)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for place in sorted({0, len(index.at) - 1} if len(index.at) else set()):
            at, length = int(index.at[place]), int(index.length[place])
            try:
                yield at, take(descriptor, at, length, parse, place)
            except (OSError, Damaged) as error:
                yield at, str(error)
    finally:
        os.close(descriptor)


def parser(kind: str, inside: Column) -> Parse:
    """What finds image and class in a record of a format; see `Index` for `inside`."""
    if kind == "tfrecord":
        return lambda record, _: parse_tfrecord(record)
    if kind == "recordio":
        return lambda record, _: parse_recordio(record)

    def taken(record: memoryview, sample: int) -> Labelled:
        image, image_length, label, label_length = inside[sample].tolist()
        text = bytes(record[label : label + label_length])
        if len(text) > _DIGITS or not text.strip().isdigit():
            raise Damaged(f"its class is {text[:20]!r}, no number")
        return Labelled(record[image : image + image_length], int(text))

    return taken


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
        own = path.stat().st_size
        if not own:
            raise ValueError("it is empty")
        if own > min(bounds.INDEX, size + _HEAD):  # a record is longer than its line
            raise ValueError(f"it has {own:,} bytes, and {file.name} {size:,}")
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
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, OverflowError) as error:
        raise DataError(f"{path} is no index of {file.name}: {error}") from error
    usual = (index.length > 0) & (index.length <= bounds.IMAGE)
    sound = usual.all() and _within(index.at, index.length, size)
    sound = sound and _within(index.inside[:, ::2], index.inside[:, 1::2], size)
    last = int((index.at + index.length).max(initial=0))
    # Nothing follows the last record of a TFRecord file: what would, the index does not know.
    if not sound or last > size or (kind == "tfrecord" and last < size):
        raise DataError(
            f"{path} goes to byte {last} and {file.name} has {size}: one of them is of another"
            " file, or cut short; make the index again"
        )
    return index


def _within(begins: Column, lengths: Column, size: int) -> bool:
    """Whether pieces lie within so many bytes; without a sum, which may be above 64 bits."""
    sound = (begins >= 0) & (begins <= size) & (lengths >= 0) & (lengths <= size - begins)
    return bool(sound.all())


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
