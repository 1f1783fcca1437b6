"""Three file formats that hold many images: how one image is put into a file, and taken out again.

The formats are other people's and so are many of the files: TFRecord (TensorFlow) as ImageNet's
packing script filled it, WebDataset (a tar file, an image and its label side by side) and RecordIO
(MXNet). Their indexes are those of DALI's tfrecord2idx, wds2idx and rec2idx. Pure functions of
bytes; which sample is wanted when, and where its bytes are, is known elsewhere.
"""

from __future__ import annotations

import os
import struct
import tarfile
from typing import NamedTuple

from ttt.data.crc32c import crc32c, masked
from ttt.protobuf import field, fields, integer, packed_integer

Bytes = bytes | memoryview
SUFFIX = {"tfrecord": ".tfrecord", "webdataset": ".tar", "recordio": ".rec"}  # of a file's name

_MAGIC = struct.pack("<I", 0xCED7230A)  # begins every part of a record in RecordIO
_LENGTH_BITS = 29  # of the word after it; above them, which part of a record this is
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_ENCODED, _LABEL = b"image/encoded", b"image/class/label"


class Sample(NamedTuple):
    """One sample on its way into a file.

    Attributes:
        image: The encoded image.
        label: Its class, from 0.
        name: <class>/<file>, as it was called.
        number: Its place in the set.
    """

    image: bytes
    label: int
    name: str
    number: int


class Packed(NamedTuple):
    """One sample as it stands in a file.

    Attributes:
        content: The bytes of its record.
        line: Its line in the index, without the line's end.
    """

    content: bytes
    line: str


class Labelled(NamedTuple):
    """One sample out of a file: the encoded image and the class as the file has it."""

    image: Bytes
    label: int


class Damaged(Exception):
    """Bytes that are no record of the format."""


def suffix_of(image: Bytes) -> str | None:
    """What a file with this content is usually called: "jpg", "png", ...; None if no image."""
    head = bytes(image[:12])
    beginnings = {
        b"\xff\xd8\xff": "jpg",
        b"\x89PNG\r\n\x1a\n": "png",
        b"BM": "bmp",
        b"II*\0": "tif",
        b"MM\0*": "tif",
        b"P5": "pgm",
        b"P6": "ppm",
    }
    for beginning, suffix in beginnings.items():
        if head.startswith(beginning):
            return suffix
    return "webp" if head[:4] == b"RIFF" and head[8:] == b"WEBP" else None


# TFRecord: length, its checksum, a serialized tf.train.Example, its checksum.


def pack_tfrecord(sample: Sample, at: int) -> Packed:
    """A record with the features ImageNet's files have; there labels begin at 1.

    Args:
        sample: What to pack.
        at: Where in the file the record will begin, in bytes.
    """
    image, label, name, _ = sample
    synset, _, filename = name.rpartition("/")
    features = {
        _ENCODED: field(1, field(1, image)),
        b"image/format": field(1, field(1, (suffix_of(image) or "").upper().encode())),
        b"image/filename": field(1, field(1, os.fsencode(filename))),
        b"image/class/synset": field(1, field(1, os.fsencode(synset))),
        _LABEL: field(3, field(1, packed_integer(label + 1))),
    }
    entries = (field(1, field(1, key) + field(2, value)) for key, value in features.items())
    example = field(1, b"".join(entries))
    length = struct.pack("<Q", len(example))
    parts = (length, _checksum(length), example, _checksum(example))
    content = b"".join(parts)
    return Packed(content, f"{at} {len(content)}")


def parse_tfrecord(record: memoryview) -> Labelled:
    """Image and class of a whole record, framing included.

    Raises:
        Damaged: It is none, or has no image or no class.
    """
    if len(record) < 16 or struct.unpack_from("<Q", record)[0] != len(record) - 16:
        raise Damaged("its length is not the one it begins with")
    image: Bytes | None = None
    label: int | None = None
    try:
        for _, features in fields(record[12:-4]):
            for _, entry in fields(features):
                key, feature = (value for _, value in fields(entry))
                if key == _ENCODED:
                    image = _only(_only(feature))
                elif key == _LABEL:
                    label = _first_integer(_only(feature))
                if image is not None and label is not None:
                    return Labelled(image, label)
    except (ValueError, IndexError, TypeError) as error:
        raise Damaged(f"it is no tf.train.Example with one image and one class: {error}") from error
    raise Damaged("it has no image/encoded or no image/class/label")


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked(crc32c(data)))


def _only(message: memoryview) -> memoryview:
    [(_, value)] = fields(message)
    return value


def _first_integer(values: memoryview) -> int:
    """Of an Int64List, packed as writers do today or one by one as they may."""
    return integer(_only(values))[0]


# RecordIO: magic, kind and length, a header (flag, class, two ids), the image, padding to 4 bytes.


def pack_recordio(sample: Sample, at: int) -> Packed:
    """A record; one whose content holds the magic at a multiple of 4 bytes is written in parts.

    Args:
        sample: What to pack.
        at: Where in the file the record will begin, in bytes.
    """
    image, label, _, number = sample
    content = struct.pack("<IfQQ", 0, label, number, 0) + image
    pieces, begin = [], 0
    place = content.find(_MAGIC)
    while place >= 0:
        if place % 4 == 0:
            pieces.append(content[begin:place])
            begin = place + 4
        place = content.find(_MAGIC, begin if place % 4 == 0 else place + 1)
    pieces.append(content[begin:])
    kinds = [_FIRST, *[_MIDDLE] * (len(pieces) - 2), _LAST] if len(pieces) > 1 else [_WHOLE]
    written = b"".join(
        _MAGIC
        + struct.pack("<I", kind << _LENGTH_BITS | len(piece))
        + piece
        + bytes(-len(piece) % 4)
        for kind, piece in zip(kinds, pieces, strict=True)
    )
    return Packed(written, f"{number}\t{at}")


def parse_recordio(record: memoryview) -> Labelled:
    """Image and class of a record; bytes after it, of the next one, do no harm.

    Raises:
        Damaged: It is none, or has several labels.
    """
    pieces: list[Bytes] = []
    at = 0
    while True:
        if bytes(record[at : at + 4]) != _MAGIC or len(record) < at + 8:
            raise Damaged("it does not begin as a record does")
        [word] = struct.unpack_from("<I", record, at + 4)
        kind, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
        piece = record[at + 8 : at + 8 + length]
        if len(piece) != length:
            raise Damaged("it ends before its length")
        if kind in (_WHOLE, _FIRST):
            pieces = [piece]
        else:
            pieces += (_MAGIC, piece)
        if kind in (_WHOLE, _LAST):
            break
        at += 8 + length + -length % 4
    content: Bytes = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    if len(content) < 24:
        raise Damaged("it has no header")
    flag, label = struct.unpack_from("<If", content)
    if flag > 1:  # so many labels follow the header; one may also stand there
        raise Damaged(f"it has {flag} labels")
    if flag == 1:
        if len(content) < 28:
            raise Damaged("it has no label")
        [label] = struct.unpack_from("<f", content, 24)
    if not label.is_integer():  # infinity and NaN are no integers, either
        raise Damaged(f"its class is {label:g}, no whole number")
    return Labelled(content[24 + 4 * flag :], int(label))


# WebDataset: a tar file with NAME.jpg and NAME.cls, a decimal number, side by side.


def pack_webdataset(sample: Sample, at: int) -> Packed:
    """Two members of a tar file, called by the sample's number.

    Args:
        sample: What to pack.
        at: Where in the file the first will begin, in bytes.
    """
    image, label, _, number = sample
    content, words = b"", []
    for suffix, data in ((suffix_of(image) or "jpg", image), ("cls", b"%d" % label)):
        member = tarfile.TarInfo(f"{number:08d}.{suffix}")
        member.size = len(data)
        content += member.tobuf(tarfile.USTAR_FORMAT)
        words.append(f"{suffix} {at + len(content)} {len(data)} {member.name}")
        content += data + bytes(-len(data) % tarfile.BLOCKSIZE)
    return Packed(content, " ".join(words))
