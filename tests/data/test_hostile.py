"""Data sets of others that were made to do harm: loaders and doctor tell, and go no further.

Their numbers are believed as far as the files beside them bear them out.
"""

import io
import json
import os
import pickle
import shutil
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import click_logs
from ttt.cli import data as command
from ttt.data import bounds, corpus, extent, formats, heads, indexes, looks, manifest, records_looks
from ttt.data.formats import Damaged, Sample
from ttt.data.listing import walk
from ttt.doctor import contents, reading
from ttt.errors import DataError
from ttt.skeleton import fitting


def shard(folder, kind, lines, content=bytes(5000)):
    """The settings of a set whose training part is one file with this index."""
    folder.mkdir(exist_ok=True)
    for part in ("train", "val"):
        (folder / f"{part}{formats.SUFFIX[kind]}").write_bytes(content)
        (folder / f"{part}.idx").write_text(lines)
    names = {"train_dir": "train", "eval_dir": "val", "root": str(folder), "format": kind}
    return SimpleNamespace(
        **names, first_label=0, train_samples=None, eval_samples=None, classes=2, on_error="error"
    )


HUGE = 2**63 - 1
WDS = "v1.2 1\njpg {} {} a.jpg cls {} {} a.cls\n"


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("tfrecord", f"{HUGE} {HUGE}\n0 5000\n"),
        ("tfrecord", "-1 5001\n"),
        ("tfrecord", f"0 {10**30}\n"),
        ("recordio", f"0\t{HUGE}\n1\t-5\n"),
        ("webdataset", WDS.format(0, 10**30, 10, 5)),
        ("webdataset", WDS.format(0, HUGE, 10, HUGE)),
        ("webdataset", WDS.format(0, 100, 4000, -5)),
        ("webdataset", WDS.format(0, 100, 4000, 5) + 9 * "\n"),
    ],
)
def test_an_index_that_leads_out_of_its_file(tmp_path, kind, lines):
    [sentence, _] = looks.faults(shard(tmp_path, kind, lines))
    assert "train.idx" in sentence
    assert looks.examined(shard(tmp_path, kind, lines)).read == 0


def test_an_index_larger_than_its_file_is_not_read(tmp_path):
    settings = shard(tmp_path, "tfrecord", "0 100\n")
    with (tmp_path / "train.idx").open("r+b") as file:
        file.truncate(1 << 40)
    assert "it has 1,099,511,627,776 bytes" in looks.faults(settings)[0]


def test_a_record_larger_than_any_image_is_not_read(tmp_path):
    size = 1 << 40
    settings = shard(tmp_path, "tfrecord", f"0 {size}\n")
    os.truncate(tmp_path / "train.tfrecord", size)
    assert "one of them is of another file" in looks.faults(settings)[0]


def record(label, flag=0, image=b"\xff\xd8\xff"):
    """A RecordIO record with any label."""
    content = struct.pack("<IfQQ", flag, label, 0, 0) + image
    head = struct.pack("<I", 0xCED7230A) + struct.pack("<I", len(content))
    return memoryview(head + content)


@pytest.mark.parametrize("label", [float("nan"), float("inf"), -float("inf"), 0.5])
def test_a_class_that_is_no_whole_number(label):
    with pytest.raises(Damaged, match="no whole number"):
        formats.parse_recordio(record(label))
    with pytest.raises(Damaged, match="has no label"):
        formats.parse_recordio(record(0.0, flag=1, image=b""))


def test_a_record_of_a_million_pieces_takes_no_longer_than_its_length():
    magic, word = struct.pack("<I", 0xCED7230A), struct.Struct("<I").pack
    count = 100_000
    pieces = [magic + word(1 << 29 | 24) + bytes(24)]
    pieces += [magic + word(2 << 29)] * count + [magic + word(3 << 29)]
    labelled = formats.parse_recordio(memoryview(b"".join(pieces)))
    assert len(labelled.image) == 4 * (count + 1)


def test_an_integer_of_a_million_bytes_is_none():
    packed = formats.pack_tfrecord(Sample(b"\xff\xd8\xff", 3, "a/b", 0), 0).content
    body = b"\n" + b"\x80" * 1_000_000
    length = struct.pack("<Q", len(body))
    with pytest.raises(Damaged, match="more than 10 bytes"):
        formats.parse_tfrecord(memoryview(length + packed[8:12] + body + bytes(4)))


def test_a_class_of_a_thousand_digits_is_none():
    inside = np.array([[0, 3, 3, 6000]])
    content = memoryview(b"\xff\xd8\xff" + b"1" * 6000)
    with pytest.raises(Damaged, match="no number"):
        indexes.parser("webdataset", inside)(content, 0)


class Harm:
    """What would run as soon as it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("/tmp/ttt-was-unpickled",)


def header(shape, kind="'<i8'"):
    """A NumPy file of nothing but a header."""
    said = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(said)) + said


def saved(array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def archived(array):
    content = io.BytesIO()
    np.savez(content, array)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        header("(1000000000000,)"),
        header("(9223372036854775807, 2)"),
        header("(-1,)"),
        header("(" + 3000 * "("),
        header(9000 * "-" + "1"),
        header("(1,)", kind="'O'"),
        saved(np.array([0, 1 << 62, HUGE, -(1 << 62), 0])),
        saved(np.array([0, 1 << 40])),
        saved(np.array([0.0, 1.0])),
        saved(np.zeros((2, 2), np.int64)),
        saved(np.zeros(0, np.int64)),
        saved(np.array([Harm()], dtype=object)),
        archived(np.zeros(3, np.int64)),
        pickle.dumps(Harm()),
        b"",
    ],
)
def test_places_of_sentences_that_are_none(tmp_path, content):
    (tmp_path / "eval.src.bin").touch()
    (tmp_path / "eval.src.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged|has 0 bytes"):
        corpus.bounds_of(tmp_path, "eval.src", "uint16")
    assert not os.path.exists("/tmp/ttt-was-unpickled")


DEEP = b'{"counts": ' + 100_000 * b"[" + 100_000 * b"]" + b"}"


@pytest.mark.parametrize(
    "content",
    [
        DEEP,
        b'{"a": ' + 5000 * b"9" + b"}",
        b"[1, 2]",
        b"\xff\xfe",
        b'{"counts": {"train": true, "eval": 1}, "hots": []}',
        b'{"counts": {"train": -5, "eval": 1}, "hots": []}',
        b'{"counts": {"train": 0, "eval": 0}, "hots": []}',
        b'{"counts": {"train": 1e400, "eval": 1}, "hots": []}',
        b'{"counts": {"train": 99999999999999999999, "eval": 1}, "hots": []}',
    ],
)
def test_a_manifest_that_is_none(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read|is damaged|is not that of"):
        manifest.read(tmp_path, "hots", "click records")


def test_a_manifest_is_a_small_file(tmp_path):
    path = tmp_path / "manifest.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(DataError, match="has 1,099,511,627,776 bytes; allowed: up to"):
        manifest.content(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"not a regular file|no regular file"):
        manifest.content(path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"not a regular file|no regular file"):
        manifest.content(path)


@pytest.mark.parametrize(
    "change",
    [
        {"hots": [10**12]},
        {"hots": [1 << 20, 1], "rows": [5, 5]},
        {"rows": [10**30, 7, 20]},
        {"dense": -3},
        {"dense": True},
        {"dense": 10**30},
        {"counts": {"train": 0, "eval": 0}},
    ],
)
def test_a_manifest_of_records_with_numbers_that_cannot_be(tmp_path, change):
    root = click_logs.write(tmp_path / "set", 8, 4)
    said = json.loads((root / "manifest.json").read_text()) | change
    (root / "manifest.json").write_text(json.dumps(said))
    settings = SimpleNamespace(**click_logs.settings(root, None, None))
    [sentence] = records_looks.faults(settings)
    assert "manifest.json" in sentence
    assert records_looks.examined(settings) is None


def test_pipes_in_a_data_set_keep_nobody_waiting(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part / "a").mkdir(parents=True)
        os.mkfifo(tmp_path / part / "a" / "0.jpg")
        (tmp_path / part / "a" / "1.jpg").symlink_to("nowhere")
        (tmp_path / part / "a" / "2.jpg").symlink_to("/dev/zero")
    run = SimpleNamespace(data=SimpleNamespace(root=str(tmp_path)))
    assert reading.look(run, 0, 1).files == 0
    data = {"root": str(tmp_path), "format": "folder", "train_dir": "train", "eval_dir": "test"}
    data |= {"train_samples": 3, "eval_samples": 3, "classes": 1, "on_error": "error"}
    place = SimpleNamespace(local_rank=0, local_size=1)
    found = contents.look(SimpleNamespace(data=SimpleNamespace(**data)), "ttt.data.looks", place)
    assert found.count == 6


def test_folders_deeper_than_in_any_set_are_not_followed(tmp_path):
    path, deep = tmp_path, os.fsencode(tmp_path)
    for _ in range(bounds.DEPTH + 2):
        path /= "a"
    path.mkdir(parents=True)
    with pytest.raises(DataError, match="33 deep; allowed: 32"):
        list(walk(deep))
    shutil.rmtree(tmp_path / "a")
    for name in ("b/c", "b/d", "e"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "f").touch()
    assert [(os.path.relpath(at, deep), folders, files) for at, folders, files in walk(deep)] == [
        (os.fsencode(os.path.relpath(at, tmp_path)), *(sorted(map(os.fsencode, x)) for x in both))
        for at, *both in sorted(os.walk(tmp_path))
    ]


ENCODED = {
    "JPEG": {},
    "JPEG progressive": {"progressive": True},
    "JPEG with EXIF": {"exif": b"Exif\0\0" + bytes(60_000)},
    "PNG": {},
    "BMP": {},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "PPM": {},
    "TIFF": {},
    "JPEG2000": {},
}


@pytest.mark.parametrize("name", ENCODED)
def test_the_size_of_an_image_is_read_from_its_header(name):
    encoded = io.BytesIO()
    Image.new("RGB", (37, 21)).save(encoded, name.partition(" ")[0], **ENCODED[name])
    assert extent.extent(encoded.getvalue()) == (37, 21)
    for count in range(0, 64):
        extent.extent(encoded.getvalue()[:count])  # None, or a size: never an error


@pytest.mark.parametrize("name", ENCODED)
def test_an_image_with_too_many_pixels_is_not_readable(name, tmp_path, monkeypatch):
    path = tmp_path / "a.img"
    Image.new("RGB", (37, 21)).save(path, name.partition(" ")[0], **ENCODED[name])
    assert heads.reason(str(path)) is None
    monkeypatch.setattr(bounds, "PIXELS", 776)
    assert heads.reason(str(path)) == "it has 37 x 21 pixels; allowed: 776 in all; scale it down"


def test_numbers_in_the_head_of_an_image_may_be_long(tmp_path):
    path = tmp_path / "a.ppm"
    path.write_bytes(b"P6 " + 9000 * b"9" + b" 1 255\n" + bytes(99))
    assert heads.reason(str(path)) is not None


@pytest.mark.parametrize("said", [{}, {"counts": 3}, {"counts": {"train": "${oc.env:HOME}"}}])
def test_a_manifest_where_a_set_is_to_be_is_no_setting(tmp_path, said):
    (tmp_path / "manifest.json").write_text(json.dumps(said))
    if isinstance(said.get("counts"), dict):
        assert command.differing("digits", tmp_path) == []
    else:
        with pytest.raises(DataError, match="counts nothing"):
            command.differing("digits", tmp_path)


def test_a_skeleton_is_not_made_of_a_deep_manifest(tmp_path):
    (tmp_path / "manifest.json").write_bytes(DEEP)
    [sentence] = fitting.problems(tmp_path, None)
    assert "is damaged" in sentence
