"""Judges from the beginning and end of a file whether the loaders can decode it as an image.

Nothing is decoded: an image that is damaged in its middle passes. DALI's decoder refuses every file
that is refused here: another kind of file, or a file that ends too early.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ttt.data import bounds, extent

THREADS = 16  # they wait for a file system more than they compute
_WHOLE = 1 << 14  # bytes read at once: a small file is whole with that
_FURTHER = 1 << 18  # where what a camera adds comes first
_TAIL = 64
_CHUNK = 200  # files a thread takes at a time
_SEGMENTS = 1_000_000  # of a JPEG or PNG that are looked through; some 100 MB of pixels
_DIGITS, _ENDLESS = 20, 10**20  # of a number in the head of a PNM file, and what is above all

_JPEG, _PNG, _END = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\xff\xd9"
_JPEG_2000 = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_LAST_CHUNK = b"\x00\x00\x00\x00IEND\xaeB`\x82"
# What people take for an image and the decoder does not, by how it begins (byte, beginning).
_OTHERS = (
    (0, b"GIF8", "a GIF"),
    (4, b"ftyphei", "a HEIC image"),
    (4, b"ftypmif", "a HEIC image"),
    (4, b"ftypavi", "an AVIF image"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"version https://git-lfs", "a pointer of Git LFS, which has not fetched the file"),
    (0, b"\x00\x05\x16\x07", "what macOS keeps beside a file"),
    (0, b"<", "an HTML or SVG page"),
)
_REFUSED = {
    errno.ENOENT: "there is no such file",
    errno.EACCES: "permission denied",
    errno.ENXIO: "it is no file",  # but a socket
}
_READ = "JPEG, PNG, BMP, WebP, PNM, TIFF and JPEG 2000 are read"
_CUT = "it is truncated"
DAMAGED = "it is damaged between its beginning and its end"  # where nothing else is wrong


def reason(path: bytes | str) -> str | None:
    """Why a file cannot be decoded, for people; None if its beginning and end are an image's."""
    try:
        # Opening a pipe would wait for a writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return _REFUSED.get(error.errno or 0, str(error.strerror))
    try:
        return _read(file)
    except OSError as error:
        return str(error.strerror)
    finally:
        os.close(file)


def _read(file: int) -> str | None:
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode):
        return _REFUSED[errno.ENXIO]
    head = os.pread(file, _WHOLE, 0)
    if len(head) < _WHOLE:
        return verdict(head, head[-_TAIL:], len(head), lambda _: head)
    size = about.st_size
    if size > bounds.IMAGE:
        return f"it has {size:,} bytes; allowed: {bounds.IMAGE:,}"
    tail = os.pread(file, _TAIL, max(0, size - _TAIL))
    return verdict(head, tail, size, lambda count: os.pread(file, count, 0))


def unreadable(paths: Sequence[bytes], threads: int = THREADS) -> Iterator[tuple[bytes, str]]:
    """The files that cannot be decoded, each with the reason, in the order given."""
    chunks = [paths[first : first + _CHUNK] for first in range(0, len(paths), _CHUNK)]

    def look(chunk: Sequence[bytes]) -> list[tuple[bytes, str]]:
        return [(path, why) for path in chunk if (why := reason(path))]

    with ThreadPoolExecutor(threads, "heads") as readers:
        for found in readers.map(look, chunks):
            yield from found


def verdict(head: bytes, tail: bytes, size: int, first: Callable[[int], bytes]) -> str | None:
    """Why an encoded image cannot be decoded; None if nothing speaks against it.

    Args:
        head: Its first bytes, all of it if it is short.
        tail: Its last ones.
        size: All bytes.
        first: Gives so many of its first bytes, for the few whose header is long or whose end is
            not where it usually is.
    """
    whole = partial(first, size)
    if not size:
        return "the file is empty"
    if head.startswith(_JPEG):
        complete = tail.endswith(_END) or _jpeg_ends(whole())
    elif head.startswith(_PNG):
        complete = tail.endswith(_LAST_CHUNK) or _png_ends(whole())
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        complete = size >= 8 + int.from_bytes(head[4:8], "little")
    elif head[:2] == b"BM":
        complete = size >= _bmp_size(head)
    elif head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        complete = size >= _pnm_size(head)
    elif head[:4] in (b"II*\x00", b"MM\x00*"):
        complete = _tiff_ends(head, size, whole)
    elif head.startswith(_JPEG_2000):
        complete = True
    else:
        return _other(head)
    return _too_large(head, size, first) if complete else _CUT


def _too_large(head: bytes, size: int, first: Callable[[int], bytes]) -> str | None:
    """Why an image is not decoded: by its header it has too many pixels."""
    found = extent.extent(head)
    for count in (_FURTHER, size):
        if found or len(head) >= size:
            break
        head = first(min(count, size))
        found = extent.extent(head)
    return bounds.too_many_pixels(*found) if found else None


def _other(head: bytes) -> str:
    for at, beginning, name in _OTHERS:
        if head[at:].startswith(beginning):
            return f"by its first bytes it is {name}; {_READ}"
    return f"by its first bytes it is no image; {_READ}"


def _jpeg_ends(data: bytes) -> bool:
    """Whether the pixels of a JPEG have an end mark; the mark of a thumbnail does not count."""
    at = 2
    for _ in range(_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF:
            break
        kind = data[at + 1]
        if kind == 0xDA:  # from here on FF D9 is the end and nothing else
            # Where a file was filled up with zeros the decoder may have had enough before them.
            return data.find(_END, at) >= 0 or data.endswith(bytes(8))
        fixed = kind == 0xFF or 0xD0 <= kind <= 0xD8 or kind == 0x01
        at += (1 if kind == 0xFF else 2) if fixed else 2 + int.from_bytes(data[at + 2 : at + 4])
    return False


def _png_ends(data: bytes) -> bool:
    """Whether the last chunk of a PNG is there as a whole; more may follow it."""
    at = len(_PNG)
    for _ in range(_SEGMENTS):
        if at + 12 > len(data):
            break
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + int.from_bytes(data[at : at + 4])
    return False


def _bmp_size(head: bytes) -> int:
    """The least bytes of a bitmap without compression; else of its header."""
    if len(head) < 34:
        return 34
    begin, form = struct.unpack_from("<I", head, 10)[0], struct.unpack_from("<I", head, 14)[0]
    if form < 40:
        return int(begin)
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", head, 18)
    if packing not in (0, 3):
        return int(begin)
    row = -(-abs(width) * bits // 32) * 4
    return int(begin + row * (abs(height) - 1) + -(-abs(width) * bits // 8))


def _pnm_size(head: bytes) -> int:
    """The bytes of a PNM file; of one with numbers as text only that it has some."""
    kind, at = head[1:2], 2
    numbers: list[int] = []
    while len(numbers) < (2 if kind in b"14" else 3):
        while head[at : at + 1].isspace() or head[at : at + 1] == b"#":
            at = head.find(b"\n", at) + 1 or len(head) if head[at : at + 1] == b"#" else at + 1
        begin = at
        while head[at : at + 1].isdigit():
            at += 1
        if begin == at:
            return at + 1
        if at - begin > _DIGITS:  # no file has so many
            return _ENDLESS
        numbers.append(int(head[begin:at]))
    width, height, *most = numbers
    if kind in b"123":
        return at + 1
    wide = 2 if most and most[0] > 255 else 1
    row = -(-width // 8) if kind == b"4" else width * wide * (3 if kind == b"6" else 1)
    return at + 1 + row * height


def _tiff_ends(head: bytes, size: int, whole: Callable[[], bytes]) -> bool:
    """Whether the first picture of a TIFF is within it: its directory, its strips or tiles."""
    order = "<" if head[:1] == b"I" else ">"
    [at] = struct.unpack_from(f"{order}I", head, 4) if len(head) >= 8 else [size]
    data = head if at + 2 + 12 * 64 <= len(head) else whole()
    if at + 2 > len(data):
        return False
    [count] = struct.unpack_from(f"{order}H", data, at)
    if at + 2 + 12 * count > len(data):
        return False
    entries = [struct.unpack_from(f"{order}HHI4s", data, at + 2 + 12 * i) for i in range(count)]
    values = {tag: (kind, number, value) for tag, kind, number, value in entries}
    for offsets, lengths in ((273, 279), (324, 325)):  # of strips, of tiles
        if offsets in values and lengths in values:
            begins, sizes = (
                _tiff_numbers(order, values[tag], data, whole) for tag in (offsets, lengths)
            )
            return bool(begins) and all(
                begin + length <= size for begin, length in zip(begins, sizes, strict=False)
            )
    return False


def _tiff_numbers(
    order: str, entry: tuple[int, int, bytes], data: bytes, whole: Callable[[], bytes]
) -> Sequence[int]:
    """The numbers of one entry of a directory; none if they lie outside of the file."""
    kind, number, value = entry
    width = {3: 2, 4: 4}.get(kind, 0)
    if width * number > 4:
        [at] = struct.unpack(f"{order}I", value)
        value = data[at : at + width * number]
        if len(value) < width * number:
            value = whole()[at : at + width * number]
    if not width or len(value) < width * number:
        return ()
    return struct.unpack_from(f"{order}{number}{'H' if width == 2 else 'I'}", value)
