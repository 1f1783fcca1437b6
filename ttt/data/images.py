"""What the image loaders share: the settings of an image set, a folder's listing, a made-up image.

Knows files and names, not pixels: nothing here decodes, and no torch or DALI is imported.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ttt.data import classes, heads
from ttt.data.listing import Classes
from ttt.data.order import Ids
from ttt.errors import DataError
from ttt.schema.data.images import ImageDataConfig

Setting = Any  # the value of one field of `ImageSet`, as the configuration gives it
# Waits for a batch: what a pipeline is fed for its images, and their labels, int64 [B].
Read = Callable[[], tuple[tuple[Any, ...], npt.NDArray[np.int64]]]


@dataclass
class ImageSet(ImageDataConfig):
    """A set of images and how it is read: the settings of `data`, with counts that are known."""

    train_samples: int = 0
    eval_samples: int = 0
    classes: int = 0

    def mean_colour(self) -> list[int]:
        """The mean as a colour of 0..255, what "pad_crop" pads with."""
        return [round(255 * value) for value in self.mean]


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of one folder, in an order every process agrees on; the row is the sample id.

    Implements `ttt.data.samples.Samples`.

    Attributes:
        names: Paths as bytes, zero-padded to the longest, uint8 [N, L]: one array, because a batch
            of rows reaches DALI several times faster than a list of separate paths.
        ends: Length of each path, int32 [N, 1].
        labels: Class of each image, int64 [N].
    """

    names: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int32]
    labels: npt.NDArray[np.int64]

    @classmethod
    def of(cls, paths: Sequence[bytes], labels: Sequence[int]) -> Listing:
        """Pack paths and their labels."""
        packed = np.array(paths)
        names = packed.view(np.uint8).reshape(len(paths), -1)
        ends = np.char.str_len(packed).astype(np.int32)[:, None]
        return cls(names, ends, np.array(labels, dtype=np.int64))

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def path(self, sample: int) -> Path:
        """Where sample `sample` lies."""
        return Path(os.fsdecode(self.names[sample, : self.ends[sample, 0]].tobytes()))

    def read(self, ids: Ids, readers: Executor) -> Read:
        """Names and labels of samples, at once: the pipeline's own threads open files."""
        return lambda: ((self.names[ids], self.ends[ids]), self.labels[ids])

    def place(self, sample: int) -> str:
        """The file of a sample."""
        return str(self.path(sample))

    def name(self, sample: int) -> str:
        """Where a sample lies, for people."""
        return self.place(sample)

    def reason(self, sample: int) -> str:
        """Why a sample cannot be read, for people."""
        return heads.reason(str(self.path(sample))) or heads.DAMAGED


def list_train(images: ImageSet) -> Listing:
    """List the training images.

    Raises:
        DataError: The folder is absent, or is not the set that is configured.
    """
    found, wrong = classes.look(images, "train_dir", "train_samples", images.classes)
    return _listing(found, wrong)


def list_eval(images: ImageSet) -> Listing:
    """List the evaluation images; they must have the training set's classes.

    Raises:
        DataError: The folder is absent, or is not the set that is configured.
    """
    found, wrong = classes.look(images, "eval_dir", "eval_samples", None)
    return _listing(found, wrong or classes.differing(images))


def one_file(path: Path) -> Listing:
    """A single image, of class 0."""
    return Listing.of([os.fsencode(path)], [0])


def _listing(found: Classes | None, wrong: Sequence[str]) -> Listing:
    if found is None or wrong:
        raise DataError(*wrong)
    labels = [label for label, paths in enumerate(found.images.values()) for _ in paths]
    return Listing.of([path for paths in found.images.values() for path in paths], labels)


def made_up_jpeg(height: int, width: int) -> bytes:
    """A JPEG of the given size in pixels, to warm decoders up with no encoder and no data set.

    In all that may decide how it is decoded it is what most photographs are. It is a baseline file
    with a JFIF header, one scan without restarts, and chroma of half the size both ways (4:2:0). It
    has separate tables for luma and chroma, with a code for every symbol. nvJPEG decides by this
    header whether an image goes to a GPU's JPEG engine (nvjpegDecodeBatchedSupported). DALI calls
    it by nvImageCodec, which wants 4:2:0, 4:2:2, 4:4:4, 4:4:0 or grey. Every block of 8 x 8 samples
    has 25 bytes, as in an ImageNet file of 110 kB and 500 x 375 pixels. The format is ITU-T T.81,
    annexes B and F.
    """
    sampling = bytes([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1])  # component, samples, quantization
    steps = bytes([4] * 64)
    # 12 codes of 4 bits for differences of DC. Of AC the end of a block has 4 bits, a 1 without
    # zeros before it has 7, and the other 160 symbols have 8: codes grow by one from 0 on, and are
    # shifted where they get longer. So 0000 is "no difference" as well as "end of block".
    dc = bytes([0, 0, 0, 12, *[0] * 12, *range(12)])
    rest = [run << 4 | size for run in range(16) for size in range(1, 11) if (run, size) != (0, 1)]
    ac = bytes([0, 0, 0, 1, 0, 0, 1, 160, *[0] * 8, 0x00, 0x01, *rest, 0xF0])
    segments = (
        (0xE0, b"JFIF\0" + bytes([1, 1, 0, 0, 1, 0, 1, 0, 0])),
        (0xDB, b"\x00" + steps),
        (0xDB, b"\x01" + steps),
        (0xC0, struct.pack(">BHHB", 8, height, width, 3) + sampling),
        *((0xC4, bytes([place]) + (ac if place & 0x10 else dc)) for place in (0, 0x10, 1, 0x11)),
        (0xDA, bytes([3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0])),
    )
    packed = b"".join(struct.pack(">BBH", 0xFF, m, len(p) + 2) + p for m, p in segments)
    # No difference; 24 coefficients, +1 and -1 by turns (0001000 and a bit for the sign); the end.
    block = int("0000" + "0001000100010000" * 12 + "0000", 2).to_bytes(25, "big")
    scan = block * (6 * -(-height // 16) * -(-width // 16))  # four of luma, two of chroma
    return b"\xff\xd8" + packed + scan + b"\xff\xd9"
