"""Text as Windows and pandas save it: a mark is no character, and what is empty is missing."""

import codecs
import gzip
from pathlib import Path

import pytest

from tests.prepare.test_clicks import source  # noqa: F401 - a fixture
from tests.prepare.test_criteo import GOOD
from ttt.errors import DataError
from ttt.prepare import csv_tables, flights, imagenet
from ttt.prepare.criteo_lines import read_lines
from ttt.prepare.folder import file_hash, is_complete
from ttt.prepare.parallel import lines

MARK = codecs.BOM_UTF8


def ignore(size: int) -> None:
    """Nobody wants to know."""


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_mark_begins_no_sentence(suffix: str, tmp_path: Path):
    path = tmp_path / f"t.en{suffix}"
    content = MARK + b"one\n" + MARK + b"two\n"
    path.write_bytes(gzip.compress(content) if suffix else content)
    assert list(lines(path)) == ["one", "\ufefftwo"]  # only that at the very beginning is a mark


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("UTF-16", codecs.BOM_UTF16_LE),
        ("UTF-16", codecs.BOM_UTF16_BE),
        ("UTF-32", codecs.BOM_UTF32_LE),
    ],
)
def test_another_encoding_is_told_with_the_right_command(
    encoding: str, mark: bytes, tmp_path: Path
):
    path = tmp_path / "my text.en"
    path.write_bytes(mark + "good\n".encode("utf-16-le"))
    with pytest.raises(DataError) as caught:
        list(lines(path))
    assert f"is {encoding} text" in str(caught.value)
    assert f"`iconv -f {encoding} -t UTF-8 'my text.en'`" in str(caught.value)
    with pytest.raises(DataError, match=f"is {encoding} text"):
        list(read_lines(path, ignore))
    with pytest.raises(DataError, match=f"is {encoding} text"):
        list(flights.read(path, ["year"]))
    path.write_bytes(b"na\xefve\n")
    with pytest.raises(DataError, match="iconv -f LATIN1"):
        list(lines(path))
    with pytest.raises(DataError, match=r"line 1: byte 0xef is not UTF-8.*iconv -f LATIN1"):
        list(flights.read(path, ["year"]))


def test_a_mark_begins_no_click(tmp_path: Path):
    (tmp_path / "day_0").write_bytes(MARK + "\t".join(GOOD).encode() + b"\n")
    [block] = read_lines(tmp_path / "day_0", ignore)
    assert block.labels.tolist() == [int(GOOD[0])]


def test_tables_as_pandas_writes_them_give_the_same_set(source: Path, tmp_path: Path):  # noqa: F811
    flights.prepare(tmp_path / "set", [source])
    for name in ("flights", "planes", "weather"):
        [path] = source.glob(f"{name}.csv*")
        with csv_tables._unpacked(path) as packed:
            text = packed.read().decode()
        assert name == "weather" or "NA" in text
        path.unlink()
        cells = [line.split(",") for line in text.splitlines()]
        empty = [",".join("" if cell == "NA" else cell for cell in line) for line in cells]
        (source / f"{name}.csv").write_bytes(MARK + "\r\n".join(empty).encode())
    flights.prepare(tmp_path / "same", [source])
    for part in ("train.bin", "eval.bin"):
        assert file_hash(tmp_path / "same" / part) == file_hash(tmp_path / "set" / part)


def test_a_mark_begins_no_manifest_and_no_label(tmp_path: Path):
    (tmp_path / "manifest.json").write_bytes(MARK + b'{"counts": {"train": 1}}')
    assert is_complete(tmp_path, {"train": 1})
    (tmp_path / "train" / "n01").mkdir(parents=True)
    (tmp_path / "val").mkdir()
    for place in ("train/n01", "val"):
        (tmp_path / place / "1.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "labels.txt").write_bytes(MARK + b"n01\r\n")
    imagenet.prepare(
        tmp_path / "out", [tmp_path], format="folder", val_labels=tmp_path / "labels.txt"
    )
    assert (tmp_path / "out" / "val" / "n01" / "1.jpg").is_file()
    (tmp_path / "labels.txt").write_bytes("n01".encode("utf-16"))
    with pytest.raises(DataError, match="is UTF-16 text"):
        imagenet.prepare(tmp_path / "again", [tmp_path], val_labels=tmp_path / "labels.txt")
