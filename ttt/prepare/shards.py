"""A list of image files written into shards with their indexes; streaming, and resumed by shard.

A shard gets its name when it is complete, so a file with that name need not be written again.
Knows files and formats, not where a list comes from.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ttt.data import bounds, extent
from ttt.data.formats import (
    SUFFIX,
    Packed,
    Sample,
    pack_recordio,
    pack_tfrecord,
    pack_webdataset,
    suffix_of,
)
from ttt.errors import DataError
from ttt.prepare.folder import file_hash

_PACK: dict[str, Callable[[Sample, int], Packed]] = {
    "tfrecord": pack_tfrecord,
    "webdataset": pack_webdataset,
    "recordio": pack_recordio,
}
_END = {"tfrecord": b"", "webdataset": bytes(2 * tarfile.BLOCKSIZE), "recordio": b""}
FORMATS = tuple(_PACK)


@dataclass(frozen=True, slots=True)
class Source:
    """An image file on its way into a shard.

    Attributes:
        path: Where it lies.
        label: Its class, from 0.
        name: <class>/<file>.
    """

    path: Path
    label: int
    name: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a set.

    Attributes:
        name: Of the part, and what its files begin with.
        sources: Its images; their place here is their number.
        shards: How many files to write.
        seed: The samples are shuffled by this, so that reading a file from its beginning gives a
            mixture; None leaves them in order.
    """

    name: str
    sources: Sequence[Source]
    shards: int
    seed: int | None

    def files(self, kind: str) -> Iterator[tuple[str, Sequence[int]]]:
        """Each shard's name, without a folder, and the numbers of its samples."""
        total = len(self.sources)
        order = np.arange(total)
        if self.seed is not None:  # NumPy promises that RandomState never changes its numbers
            order = np.random.RandomState(self.seed).permutation(total)
        for shard in range(self.shards):
            first, end = (total * place // self.shards for place in (shard, shard + 1))
            name = f"{self.name}-{shard:05d}-of-{self.shards:05d}{SUFFIX[kind]}"
            yield name, order[first:end].tolist()


def write_part(
    part: Part, kind: str, folder: Path, packed: Callable[[int], None]
) -> dict[str, Any]:
    """Write the shards of a part that are not there yet.

    Args:
        part: What to write.
        kind: One of `FORMATS`.
        folder: Where.
        packed: Called with a number of samples whenever so many more are done.

    Returns:
        For each shard what a manifest says of it: samples, bytes, sha256.

    Raises:
        DataError: An image cannot be read, or is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, numbers in part.files(kind):
        path = folder / name
        if path.is_file():
            packed(len(numbers))
        else:
            _write_shard(part, kind, numbers, path, packed)
        files[f"{part.name}/{name}"] = {
            "samples": len(numbers),
            "bytes": path.stat().st_size,
            "sha256": file_hash(path),
        }
    return files


def _write_shard(
    part: Part, kind: str, numbers: Sequence[int], path: Path, packed: Callable[[int], None]
) -> None:
    begun = path.with_name(f".{path.name}.partial")
    index = path.with_suffix(".idx")
    begun_index = path.with_name(f".{index.name}.partial")
    try:
        with begun.open("wb") as file, begun_index.open("w") as lines:
            if kind == "webdataset":
                lines.write(f"v1.2 {len(numbers)}\n")
            for number in numbers:
                sample = _read(part.sources[number], number)
                record = _PACK[kind](sample, file.tell())
                file.write(record.content)
                lines.write(record.line + "\n")
                packed(1)
            file.write(_END[kind])
        begun_index.rename(index)
        begun.rename(path)  # last: from now on this shard is complete
    except BaseException:
        begun.unlink(missing_ok=True)
        begun_index.unlink(missing_ok=True)
        raise


def _read(source: Source, number: int) -> Sample:
    try:
        image = bounds.whole(source.path, bounds.IMAGE)
    except OSError as error:
        raise DataError(f"{source.path} cannot be read: {error.strerror}") from error
    if suffix_of(image) is None:
        what = "is empty" if not image else "does not begin as any image format does"
        raise DataError(f"{source.path} is no image: it {what}; replace the file, or remove it")
    if why := extent.excess(image):
        raise DataError(f"{source.path} is too large: {why}; or remove it")
    return Sample(image, source.label, source.name, number)
