"""Reads from the header how many pixels an encoded image has, before anything decodes it.

A PNG of 10 MB may become 10 GB of pixels. This module knows every form that the loaders decode. For
other forms, and for damaged images, it gives no answer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from ttt.data import bounds

_SEGMENTS = 10_000  # of a JPEG before its pixels begin
_WORDS = 16  # numbers and comments in the head of a PNM file
_SAMPLES = 4  # values of a pixel that are usual; a TIFF may say that it has 65,535

Extent = tuple[int, int]


def excess(image: bytes) -> str | None:
    """Why an encoded image is too large to decode; None if it is not, or nothing is known.

    Args:
        image: Its bytes, or as many of the first ones as hold its header.
    """
    found = extent(image)
    return bounds.too_many_pixels(*found) if found else None


def extent(image: bytes) -> Extent | None:
    """Width and height in pixels; None if the bytes do not say."""
    read = next((read for begin, read in _READ.items() if image.startswith(begin)), _jpeg_2000)
    try:
        return read(image)
    except (struct.error, LookupError, ValueError):
        return None


def _two(form: str, image: bytes, at: int) -> Extent:
    width, height = struct.unpack_from(form, image, at)
    return width, height


def _jpeg(image: bytes) -> Extent | None:
    at = 2
    for _ in range(_SEGMENTS):
        while image[at + 1] == 0xFF:  # filling
            at += 1
        kind = image[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", image, at + 5)
            return width, height
        if kind == 0xDA:
            return None
        alone = 0xD0 <= kind <= 0xD8 or kind == 0x01
        at += 2 if alone else 2 + max(2, struct.unpack_from(">H", image, at + 2)[0])
    return None


def _bmp(image: bytes) -> Extent:
    if struct.unpack_from("<I", image, 14)[0] == 12:  # of OS/2
        return _two("<HH", image, 18)
    width, height = _two("<ii", image, 18)
    return abs(width), abs(height)  # from the top down where it is negative


def _webp(image: bytes) -> Extent | None:
    kind = image[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(image[at : at + 3], "little") for at in (24, 27))
        return width + 1, height + 1
    if kind == b"VP8L":
        [bits] = struct.unpack_from("<I", image, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = _two("<HH", image, 26)
    return width & 0x3FFF, height & 0x3FFF


def _pnm(image: bytes) -> Extent | None:
    lines = image[2:4096].split(b"\n")
    words = b" ".join(line.partition(b"#")[0] for line in lines).split(maxsplit=_WORDS)
    width, height = (int(word[:20]) for word in words[:2])
    return width, height


def _tiff(image: bytes) -> Extent | None:
    order = "<" if image[:1] == b"I" else ">"
    [at] = struct.unpack_from(f"{order}I", image, 4)
    [count] = struct.unpack_from(f"{order}H", image, at)
    tags = {}
    for place in range(count):
        tag, kind, _, value = struct.unpack_from(f"{order}HHI4s", image, at + 2 + 12 * place)
        short = kind == 3
        [tags[tag]] = struct.unpack_from(f"{order}{'H' if short else 'I'}", value)
    # An image in tiles is decoded tile by tile, and one may be larger than the image.
    width, height = max(tags[256], tags.get(322, 0)), max(tags[257], tags.get(323, 0))
    return width, height * -(-tags.get(277, 1) // _SAMPLES)


def _jpeg_2000(image: bytes) -> Extent | None:
    at = image.find(b"\xff\x4f\xff\x51", 0, 1 << 16)
    if at < 0:
        return None
    right, bottom, left, top = struct.unpack_from(">IIII", image, at + 8)
    return max(0, right - left), max(0, bottom - top)


_READ: dict[bytes, Callable[[bytes], Extent | None]] = {
    b"\xff\xd8\xff": _jpeg,
    b"\x89PNG\r\n\x1a\n": lambda image: _two(">II", image, 16),
    b"BM": _bmp,
    b"RIFF": _webp,
    **{b"P%d" % kind: _pnm for kind in range(1, 7)},
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
}
