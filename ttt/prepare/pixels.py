"""Describes a set of images: unreadable files, sizes, and the statistics of the colours.

Both ends of every file are read, and a few hundred images are decoded, small, off the clock.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from ttt.data import bounds, heads
from ttt.errors import MissingExtra

_THREADS = 16  # they wait for a file system more than they compute
_SAMPLE = 500  # images whose colours are looked at, at equal distances
_SIDE = 64  # pixels to which those are scaled
_MANY = 20  # unreadable files that are named
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF", "JPEG2000")  # no others are images here
_LARGE = 1 << 24  # pixels from which on images are decoded one at a time, in 1 GB at most
_ONE = Lock()


def unreadable(paths: Sequence[Path]) -> list[str]:
    """A sentence for each file that no loader can decode, the first ones of many.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    found = dict(heads.unreadable([os.fsencode(path) for path in paths]))
    bad = [(os.fsdecode(path), why) for path, why in found.items()]
    rest = [path for path in paths if os.fsencode(path) not in found]
    sizes = zip(rest, _sizes(rest), strict=True)
    bad += [(str(path), why) for path, why in sizes if isinstance(why, str)]
    more = [f"and {len(bad) - _MANY} more images that cannot be read"]
    return [f"{path} cannot be read: {why}; replace or remove it" for path, why in bad[:_MANY]] + (
        more if len(bad) > _MANY else []
    )


def measured(paths: Sequence[Path]) -> dict[str, Any]:
    """What a manifest says of images beyond their number.

    Args:
        paths: One image at least, all of them readable.

    Returns:
        "sizes": smallest, median and largest of the shorter and of the longer sides, in pixels;
        "mean" and "std": of each channel (R, G, B), of values 0..1.
    """
    sizes = _sizes(paths)
    chosen = [paths[place] for place in range(0, len(paths), -(-len(paths) // _SAMPLE))]
    with ThreadPoolExecutor(_THREADS, "pixels") as readers:
        sums = np.sum(list(readers.map(_colours, chosen)), axis=0)
    mean = sums[1] / sums[0]
    std = np.sqrt(np.maximum(sums[2] / sums[0] - mean**2, 0))
    return {
        "sizes": {"shorter": _three(sizes, min), "longer": _three(sizes, max)},
        "mean": [round(float(value), 4) for value in mean],
        "std": [round(max(float(value), 0.01), 4) for value in std],
    }


def _sizes(paths: Sequence[Path]) -> list[tuple[int, int] | str]:
    """Width and height of each image, or why they cannot be read."""
    try:
        from PIL import Image  # noqa: F401, PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtra("pillow", "digits", "measuring images") from error
    with ThreadPoolExecutor(_THREADS, "pixels") as readers:
        return list(readers.map(_size, paths))


def _size(path: Path) -> tuple[int, int] | str:
    """Width and height, or why Pillow cannot read them."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - an extra

    try:
        with Image.open(path, formats=_FORMATS) as image:
            return bounds.too_many_pixels(*image.size) or image.size
    except UnidentifiedImageError:
        return "it is damaged"
    except Exception as error:  # of a damaged file, Pillow's readers may raise any
        return str(getattr(error, "strerror", None) or error)


def _colours(path: Path) -> Any:
    """Pixels, their sums and the sums of their squares, [3, 3] by channel; 0 of damaged ones."""
    from PIL import Image  # noqa: PLC0415 - an extra

    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.draft("RGB", (_SIDE, _SIDE))
            large = image.width * image.height > _LARGE
            with _ONE if large else nullcontext():
                image.thumbnail((_SIDE, _SIDE))
            values = np.asarray(image.convert("RGB"), dtype=np.float64).reshape(-1, 3) / 255
    except Exception:  # of a damaged file any; a run says what is wrong with it
        return np.zeros((3, 3))
    count = np.full(3, len(values), dtype=np.float64)
    return np.stack([count, values.sum(axis=0), (values**2).sum(axis=0)])


def _three(sizes: Sequence[Any], side: Any) -> list[int]:
    values = sorted(side(size) for size in sizes)
    return [values[0], values[len(values) // 2], values[-1]]
