"""What stands in a record: round trips, files as others write them, and checksums."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttt.data.crc32c import crc32c, masked
from ttt.data.formats import (
    Damaged,
    Sample,
    pack_recordio,
    pack_tfrecord,
    pack_webdataset,
    parse_recordio,
    parse_tfrecord,
    suffix_of,
)
from ttt.data.images import made_up_jpeg

MAGIC = struct.pack("<I", 0xCED7230A)
IMAGE = made_up_jpeg(8, 8)


def bitwise(data):
    """RFC 3720, appendix B.4, a bit at a time."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),  # these four: RFC 3720, appendix B.4
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_checksum_is_the_standards(data, expected):
    assert crc32c(data) == expected


@given(st.binary(max_size=70))
def test_the_checksum_of_any_length(data):
    assert crc32c(data) == bitwise(data)


@given(image=st.binary(min_size=1, max_size=300), label=st.integers(0, 2**20))
def test_a_tfrecord_gives_back_what_was_packed(image, label):
    packed = pack_tfrecord(Sample(image, label, "n01/a.jpg", 5), 77)
    assert parse_tfrecord(memoryview(packed.content)) == (image, label + 1)
    assert packed.line == f"77 {len(packed.content)}"
    length, first = struct.unpack_from("<QI", packed.content)
    assert length == len(packed.content) - 16
    assert first == masked(bitwise(packed.content[:8]))
    assert struct.unpack("<I", packed.content[-4:])[0] == masked(bitwise(packed.content[12:-4]))


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def framed(*features):
    entries = b"".join(
        field(1, field(1, key) + field(2, field(kind, value))) for key, kind, value in features
    )
    example = field(1, entries)
    return memoryview(struct.pack("<QI", len(example), 0) + example + bytes(4))


def test_a_tfrecord_of_another_writer():
    """Features in any order, numbers not packed, and kinds of features that nobody asked for."""
    record = framed(
        (b"image/class/label", 3, b"\x08" + varint(1000)),
        (b"image/object/bbox/xmin", 2, field(1, struct.pack("<2f", 0.25, 0.5))),
        (b"image/class/text", 1, field(1, b"toilet tissue")),
        (b"image/encoded", 1, field(1, IMAGE)),
    )
    assert parse_tfrecord(record) == (IMAGE, 1000)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (memoryview(b""), "length"),
        (framed((b"image/encoded", 1, field(1, IMAGE)))[:-1], "length"),
        (framed((b"image/encoded", 1, field(1, IMAGE))), "no image/class/label"),
        (framed((b"image/class/label", 3, field(1, b"\x01"))), "no image/encoded"),
        (framed((b"image/encoded", 1, field(1, b"a") + field(1, b"b"))), "one image"),
        (framed((b"image/encoded", 1, varint(10) + b"\x7f")), "ends after"),
        (memoryview(struct.pack("<QI", 3, 0) + b"\x0b\x0b\x0b" + bytes(4)), "wire type"),
    ],
)
def test_a_damaged_tfrecord_is_told(record, said):
    with pytest.raises(Damaged, match=said):
        parse_tfrecord(record)


parts = st.lists(st.one_of(st.just(MAGIC), st.binary(max_size=9)), max_size=8)


@given(parts=parts, label=st.integers(0, 2**20), after=st.binary(max_size=8))
def test_a_recordio_record_gives_back_what_was_packed(parts, label, after):
    """Whatever it holds, its own magic above all."""
    image = b"".join(parts)
    packed = pack_recordio(Sample(image, label, "n01/a.jpg", 9), 40)
    assert len(packed.content) % 4 == 0
    assert parse_recordio(memoryview(packed.content + after)) == (image, label)
    assert packed.line == "9\t40"
    # The magic stands, at a multiple of 4, where a part begins and nowhere else.
    words = struct.unpack(f"<{len(packed.content) // 4}I", packed.content)
    at = begins = 0
    while at < len(words):
        assert words[at] == 0xCED7230A
        begins, at = begins + 1, at + 2 + -(-(words[at + 1] & (1 << 29) - 1) // 4)
    assert words.count(0xCED7230A) == begins


def recordio(flag, label, rest):
    content = struct.pack("<IfQQ", flag, label, 1, 0) + rest
    return memoryview(MAGIC + struct.pack("<I", len(content)) + content)


def test_a_recordio_record_may_have_its_label_after_the_header():
    assert parse_recordio(recordio(1, 0.0, struct.pack("<f", 7.0) + IMAGE)) == (IMAGE, 7)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (memoryview(b"none at all"), "begin"),
        (recordio(0, 1.0, IMAGE)[:-1], "ends before"),
        (recordio(0, 1.0, IMAGE)[:6], "begin"),
        (recordio(2, 1.0, struct.pack("<2f", 1, 2) + IMAGE), "2 labels"),
        (memoryview(MAGIC + struct.pack("<I", 3) + b"abc"), "header"),
    ],
)
def test_a_damaged_recordio_record_is_told(record, said):
    with pytest.raises(Damaged, match=said):
        parse_recordio(record)


def test_a_webdataset_sample_says_where_its_members_are():
    packed = pack_webdataset(Sample(IMAGE, 12, "n01/a.jpg", 9), 1024)
    suffix, at, length, name, *label = packed.line.split()
    assert (suffix, name) == ("jpg", "00000009.jpg")
    assert packed.content[int(at) - 1024 :][: int(length)] == IMAGE
    assert (label[0], label[3]) == ("cls", "00000009.cls")
    assert packed.content[int(label[1]) - 1024 :][: int(label[2])] == b"12"
    assert len(packed.content) % 512 == 0


def test_an_image_is_known_by_how_it_begins():
    assert suffix_of(IMAGE) == "jpg"
    assert suffix_of(b"RIFF\0\0\0\0WEBPVP8 ") == "webp"
    assert suffix_of(b"\x89PNG\r\n\x1a\n...") == "png"
    assert suffix_of(b"<html>") is None
    assert suffix_of(b"") is None
