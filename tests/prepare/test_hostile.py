"""Archives and files made to do harm: refused at once, nothing written elsewhere or left over."""

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from ttt.data import bounds
from ttt.errors import ConfigError, DataError
from ttt.prepare import cifar10, criteo, flights, imagenet, images, room, table, wmt
from ttt.prepare.folder import whole_folder

NAME = "train/cat/0.jpg"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to prepare in, which must hold nothing but the source afterwards."""
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    yield inside
    assert {path.name for path in inside.iterdir()} <= {"source", "extra"}
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def tar(members, path=Path("source"), mode="w"):
    """A tar file of (what its header says, content)."""
    with tarfile.open(path, mode) as archive:
        for said, content in members:
            info = tarfile.TarInfo(said.get("name", NAME))
            info.size = len(content)
            for key, value in said.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(content))
    return path


def refused(said, prepare=cifar10.prepare, **options):
    with pytest.raises((DataError, ConfigError)) as caught:
        prepare(Path("out"), [Path("source")], **options)
    assert said in str(caught.value)


def old_sparse(size):
    """The header of a file with holes, as GNU tar wrote it: all of it is one."""
    member = tarfile.TarInfo(NAME)
    member.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    for at, number in ((386, size), (398, 0), (483, size)):
        block[at : at + 12] = tarfile.itn(number, 12, tarfile.GNU_FORMAT)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + bytes(1024)


def test_a_file_far_larger_than_an_image_of_the_set(place):
    tar([({}, bytes(5 << 20))], mode="w:gz")
    refused("train/cat/0.jpg has 5,242,880 bytes; allowed: 65,536, far above the images of C")


def test_images_that_together_are_more_than_the_set(place, monkeypatch):
    monkeypatch.setattr(cifar10, "TOTAL", 100_000)
    tar([({"name": f"train/cat/{i}.jpg"}, bytes(50_000)) for i in range(3)])
    refused("its images have 150,000 bytes or more; allowed: 100,000")


def test_more_files_than_there_can_be(place, monkeypatch):
    monkeypatch.setattr(cifar10, "COUNTS", {"train": 1, "test": 1})
    tar([({"name": f"notes/{i}.txt"}, b"") for i in range(10_010)])
    refused("holds more than 10,008 files")


@pytest.mark.parametrize("prepare", [cifar10.prepare, images.prepare])
def test_a_file_with_holes(place, prepare):
    Path("source").write_bytes(old_sparse(1 << 40))
    refused("is a sparse file, one with holes", prepare)


def test_a_file_with_holes_as_pax_has_it(place):
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    content = b"1\n0\n0\n".ljust(512, b"\0")
    tar([({"pax_headers": said | {"GNU.sparse.name": NAME}}, content)])
    refused("is a sparse file, one with holes")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"name": "../0.jpg"}, "leaves the folder; allowed: paths without .."),
        ({"name": "train/../../0.jpg"}, "leaves the folder; allowed: paths without .."),
        (
            {"name": "train/cat/a\x1b[31m.jpg"},
            "has characters in its name that cannot be seen; allowed: names",
        ),
        (
            {"name": "train/cat/a\n.jpg"},
            "has characters in its name that cannot be seen; allowed: names",
        ),
        ({"name": "train/" + 2000 * "a/" + "0.jpg"}, "has 2002 parts; allowed: 32"),
        ({"name": f"train/cat/{300 * 'a'}.jpg"}, "cannot be unpacked: [Errno 36]"),
        ({"name": f"train/{300 * 'ab/'}0.jpg"}, "has 302 parts; allowed: 32"),
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "0.jpg is a link; allowed: regular"),
        ({"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}, "0.jpg is a link; allowed: regular"),
        (
            {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
            "0.jpg is a device; allowed: regular",
        ),
        ({"type": tarfile.FIFOTYPE}, "0.jpg is a pipe; allowed: regular"),
    ],
)
def test_a_name_or_a_kind_that_no_image_has(place, said, why):
    tar([(said, b"")])
    refused(why)


def test_an_absolute_name(place):
    tar([({"name": "/tmp/0.jpg"}, b"")])
    refused("leaves the folder; allowed: paths without ..")


def test_a_name_that_comes_twice_does_not_replace_the_first(place):
    tar([({}, b"one"), ({}, b"two")])
    refused("train/cat/0.jpg is in it twice")


def test_a_header_that_is_larger_than_any(place):
    tar([({"pax_headers": {"comment": 3_000_000 * "a"}}, b"")], mode="w:gz")
    tracemalloc.start()
    refused("has a header of 3,0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000


def test_what_comes_after_a_damaged_header_is_not_left_out_in_silence(place):
    tar([({"name": f"{label}/{i}.png"}, png(8, 8)) for label in "ab" for i in range(3)])
    content = bytearray(Path("source").read_bytes())
    content[5 * 1024] ^= 255  # of the last name: its checksum is wrong
    Path("source").write_bytes(content)
    refused("cannot be unpacked: at byte", images.prepare)


def test_headers_within_headers(place):
    link = tarfile.TarInfo("././@LongLink")
    link.type, link.size = tarfile.GNUTYPE_LONGNAME, 1
    one = link.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
    Path("source").write_bytes(gzip.compress(one * 3000))
    refused("damaged")  # and Python's depth is not exceeded


def test_what_becomes_far_more_than_it_is(place, monkeypatch):
    monkeypatch.setattr(bounds, "GROWN", 1 << 20)
    tar([({"name": "zeros.bin"}, bytes(4 << 20))], mode="w:gz")
    refused("bytes and becomes more than 1,048,576; allowed: 100 times as many")
    entries = [(f"cat/{i}.png", bytes(1 << 19)) for i in range(8)]
    zipped(entries, compression=zipfile.ZIP_DEFLATED)
    refused("allowed: 1,048,576: 100 times its packed size, and at least 1 MiB; if", images.prepare)


def zipped(entries, path=Path("source"), **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(("size", "why"), [(9, "CRC"), (1 << 31, "bytes; allowed")])
def test_a_zip_file_that_lies_about_a_size(place, size, why):
    content = bytearray(zipped([(NAME, bytes(1000))]).read_bytes())
    at = content.rfind(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    Path("source").write_bytes(content)
    refused(why)


def test_a_zip_file_whose_members_are_one(place):
    content = zipped([(f"train/cat/{i}.jpg", bytes(99)) for i in range(3)]).read_bytes()
    begin = content.find(b"PK\1\2")
    entries = bytearray(content[begin:])
    at = entries.find(b"PK\1\2", 4)
    entries[at + 42 : at + 46] = bytes(4)  # where the second begins
    Path("source").write_bytes(content[:begin] + entries)
    refused("lies within")


def locked(content):
    """The same zip file, said to be encrypted."""
    content = bytearray(content)
    for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.find(mark) + flags] |= 1
    return bytes(content)


@pytest.mark.parametrize(("way", "why"), [("locked", "is encrypted"), ("xz", "by method 14")])
def test_a_zip_file_that_cannot_be_opened(place, way, why):
    kind = zipfile.ZIP_LZMA if way == "xz" else zipfile.ZIP_STORED
    Path("source").mkdir()
    for name in (NAME, "a.csv"):
        path = zipped([(name, b"a,b\n1,2\n")], Path("source/a.zip"), compression=kind)
        if way == "locked":
            path.write_bytes(locked(path.read_bytes()))
        prepare, options = (cifar10, {}) if name == NAME else (table, {"label": "a"})
        with pytest.raises(DataError, match=why):
            prepare.prepare(Path("out"), [path], **options)


TABLE = "".join(f"{i},{i % 3},{'yes' if i % 2 else 'no'}\n" for i in range(40)).encode()
PACK = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACK)
def test_several_packed_streams_are_one_file(tmp_path, suffix):
    pack = PACK[suffix]
    packed = tmp_path / f"a.csv{suffix}"
    padding = bytes(8) if suffix == ".xz" else b""
    packed.write_bytes(pack(b"n,m,l\n" + TABLE[:100]) + padding + pack(TABLE[100:]))
    table.prepare(tmp_path / "packed", [packed], label="l", numeric=["n"])
    (tmp_path / "a.csv").write_bytes(b"n,m,l\n" + TABLE)
    table.prepare(tmp_path / "plain", [tmp_path / "a.csv"], label="l", numeric=["n"])
    train = [(tmp_path / name / "train.bin").read_bytes() for name in ("packed", "plain")]
    assert train[0] == train[1]


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("damage", ["cut", "bad"])
def test_a_packed_table_that_is_damaged(place, suffix, damage):
    content = PACK[suffix](b"n,m,l\n" + TABLE * 50)
    middle = len(content) // 2
    rest = b"" if damage == "cut" else b"\xff" * 9 + content[middle + 9 :]
    Path("source").mkdir()
    path = Path(f"source/a.csv{suffix}")
    path.write_bytes(content[:middle] + rest)
    with pytest.raises(DataError, match=r"cannot be read|not UTF-8|fields"):
        table.prepare(Path("out"), [path], label="l")


def test_an_xz_file_that_asks_for_all_memory(place):
    content = bytearray(lzma.compress(b"n,m,l\n" + TABLE))
    begin = 12  # of the block's header: size, flags, filter, its size, the size of the dictionary
    content[begin + 4] = 40  # 4 GB
    end = begin + 4 * (content[begin] + 1)
    content[end - 4 : end] = struct.pack("<I", zlib.crc32(content[begin : end - 4]))
    Path("source").mkdir()
    Path("source/a.csv.xz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read: Memory usage limit exceeded"):
        table.prepare(Path("out"), [Path("source/a.csv.xz")], label="l")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_line_without_an_end(place, suffix):
    pack = gzip.compress if suffix else bytes
    Path("source").mkdir()
    for name in ("a.csv", "b.en", "b.de", "newstest2014.en", "newstest2014.de", "day_0", "day_1"):
        start = b"a,b\n" if name == "a.csv" else b""
        Path(f"source/{name}{suffix}").write_bytes(pack(start + b"a" * (20 << 20)))
    source = sorted(Path("source").iterdir())
    texts = [path for path in source if path.name.startswith(("b.", "news"))]
    days = [path for path in source if path.name.startswith("day")]
    for prepare, files, options in (
        (table.prepare, [Path(f"source/a.csv{suffix}")], {"label": "a"}),
        (wmt.prepare, texts, {}),
        (criteo.prepare, days, {}),
    ):
        tracemalloc.start()
        with pytest.raises(DataError, match=r"line . is longer than"):
            prepare(Path("out"), files, **options)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 12 << 20


def test_more_columns_than_any_table_has(place):
    Path("source").write_text(",".join(map(str, range(70_000))) + "\n")
    refused("has 70,000 columns by its first line; allowed: 65,536", table.prepare, label="a")


def test_days_without_a_line(place):
    Path("source").mkdir()
    days = [Path("source/day_0"), Path("source/day_1")]
    for day in days:
        day.touch()
    with pytest.raises(DataError, match="day_0 is empty"):
        criteo.prepare(Path("out"), days)


def test_flights_that_are_none(place, monkeypatch):
    monkeypatch.setattr(flights, "TOTAL", 1)
    Path("source").mkdir()
    for name, columns in flights.COLUMNS.items():
        header, row = ",".join(columns), ",".join("x" for _ in columns)
        Path(f"source/{name}.csv").write_text(f"{header}\n{row}\n")
    refused("invalid literal for int", flights.prepare)
    header = ",".join(flights.COLUMNS["flights"])
    row = ",".join(300 * "1" for _ in flights.COLUMNS["flights"])
    Path("source/flights.csv").write_text(f"{header}\n{row}\n")
    refused("a field of more than 100 characters in row 1", flights.prepare)


def test_a_pipe_is_not_waited_for(place):
    os.mkfifo("source")
    refused("no regular file", cifar10.prepare)
    refused("is not there", images.prepare)
    os.unlink("source")
    for part in ("train", "val"):
        for label in ("a", "b"):
            Path(f"source/{part}/{label}").mkdir(parents=True)
            os.mkfifo(f"source/{part}/{label}/0.jpg")
    for format in ("tfrecord", "folder"):
        refused("is a folder, a pipe or a device", imagenet.prepare, format=format)


def test_links_that_lead_in_a_circle(place):
    Path("source").mkdir()
    os.symlink(".", "source/a")
    refused("folders lie within folders", images.prepare)


def test_a_folder_whose_links_lead_out_of_it(place):
    Path("extra").write_bytes(b"private")
    Path("source/train/cat").mkdir(parents=True)
    os.symlink(Path("extra").absolute(), f"source/{NAME}")
    refused("0.jpg is a link out of the folder; allowed", cifar10.prepare)


def png(width, height):
    """A PNG that says so, with no pixels."""
    kinds = ((b"IHDR", struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in kinds
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_an_image_that_would_fill_the_memory_is_not_decoded(place):
    for part in ("train", "val"):
        for label in ("a", "b"):
            Path(f"source/{part}/{label}").mkdir(parents=True)
            Path(f"source/{part}/{label}/0.png").write_bytes(png(60_000, 60_000))
    refused("it has 60000 x 60000 pixels; allowed: 89,478,485 in all", images.prepare)
    for kind in ("tfrecord", "webdataset", "recordio"):
        refused("it has 60000 x 60000 pixels", imagenet.prepare, format=kind)


def test_a_full_disk_is_told_and_the_draft_removed(place):
    def write():
        with whole_folder(Path("out")), open("/dev/full", "wb") as file:
            file.write(bytes(1 << 20))

    with pytest.raises(DataError, match="no room is left to write out"):
        write()


def test_a_set_for_which_there_is_no_room_is_not_begun(place, monkeypatch):
    monkeypatch.setattr(room, "free", lambda folder: 100)
    tar([({}, bytes(1000))])
    refused("0.0 GB are free there: make room, or type --out DIR", cifar10.prepare)
    Path("source").unlink()
    Path("source").mkdir()
    line = "0" + 39 * "\t" + "\n"
    days = [Path("source/day_0"), Path("source/day_1")]
    for day in days:
        day.write_text(line * 10)
    with pytest.raises(DataError, match="make room"):
        criteo.prepare(Path("out"), days)


def test_a_refusal_keeps_the_shards_that_are_complete(tmp_path):
    source = tmp_path / "source"
    for part in ("train", "val"):
        for label in ("a", "b"):
            (source / part / label).mkdir(parents=True)
            (source / part / label / "0.png").write_bytes(png(8, 8))
    (source / "train" / "b" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="is no image"):
        imagenet.prepare(tmp_path / "out", [source], shards=2, in_order=True)
    there = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    shard = "train-00000-of-00002"
    assert there == ["packing.json", f"{shard}.idx", f"{shard}.tfrecord"]
