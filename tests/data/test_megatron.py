"""Files of Megatron: read as packed by hand, written as packed by hand, refused when damaged."""

import os
import struct

import numpy as np
import pytest

import token_files
from ttt.data.megatron import Writer, dtype_for, open_indexed
from ttt.errors import DataError

DOCUMENTS = [[5, 6, 7], [], [1], [9] * 12, [60_000, 0]]


@pytest.mark.parametrize("dtype", ["u2", "i4", "i8"])
def test_a_file_packed_by_hand_is_read(tmp_path, dtype):
    token_files.write(tmp_path / "set", DOCUMENTS, dtype)
    found = open_indexed(tmp_path / "set")
    assert [found.read(i, 0, len(one)).tolist() for i, one in enumerate(DOCUMENTS)] == DOCUMENTS
    assert found.read(3, 10, 2).tolist() == [9, 9]
    assert (found.total, found.samples(4), found.samples(17), found.samples(18)) == (18, 4, 1, 0)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2"])
def test_small_types_are_read(tmp_path, dtype):
    token_files.write(tmp_path / "set", [[1, 2, 100]], dtype)
    assert open_indexed(tmp_path / "set").read(0, 0, 3).tolist() == [1, 2, 100]


def test_modes_at_the_end_are_allowed(tmp_path):
    token_files.write(tmp_path / "set", DOCUMENTS)
    with (tmp_path / "set.idx").open("ab") as index:
        index.write(bytes(len(DOCUMENTS)))
    assert open_indexed(tmp_path / "set").total == 18


@pytest.mark.parametrize(("vocabulary", "dtype"), [(256, "u2"), (65_499, "u2"), (65_500, "i4")])
def test_what_is_written_is_what_is_packed_by_hand(tmp_path, vocabulary, dtype, monkeypatch):
    monkeypatch.setattr("ttt.data.megatron._BLOCK", 2)
    with Writer(tmp_path / "set", dtype_for(vocabulary)) as writer:
        writer.write(DOCUMENTS[:2])
        writer.write(np.array(one) for one in DOCUMENTS[2:])
    tokens, index = token_files.pack(DOCUMENTS, dtype)
    assert (tmp_path / "set.bin").read_bytes() == tokens
    assert (tmp_path / "set.idx").read_bytes() == index
    assert (writer.tokens, writer.documents) == (18, 5)
    assert open_indexed(tmp_path / "set").total == 18


def test_an_interrupted_writer_leaves_no_index(tmp_path):
    def interrupted():
        with Writer(tmp_path / "set", dtype_for(9)) as writer:
            writer.write(DOCUMENTS[:1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not (tmp_path / "set.idx").exists()


def patched(at, form, value):
    def change(folder):
        content = bytearray((folder / "set.idx").read_bytes())
        struct.pack_into(form, content, at, value)
        (folder / "set.idx").write_bytes(content)

    return change


def cut(name, size):
    return lambda folder: os.truncate(folder / name, size)


def pipe(folder):
    (folder / "set.idx").unlink()
    os.mkfifo(folder / "set.idx")


LENGTHS, OFFSETS, BORDERS = 34, 34 + 4 * 5, 34 + 12 * 5


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "set.bin").unlink(), "set.bin is missing"),
        (lambda folder: (folder / "set.idx").unlink(), "set.idx is missing"),
        (pipe, "no regular file"),
        (cut("set.idx", 0), "no index of Megatron's: it has 0 bytes"),
        (cut("set.idx", 33), "no index of Megatron's: it has 33 bytes"),
        (
            cut("set.idx", 100),
            "has 100 bytes, and 5 sequences with 6 borders of documents make 142",
        ),
        (cut("set.bin", 35), "sequence 4 has 2 tokens from byte 32 on, and the .bin has 35 bytes"),
        (cut("set.bin", 0), "sequence 0 has 3 tokens from byte 0 on, and the .bin has 0 bytes"),
        (patched(0, "<B", 0), "begins with b'.x00MIDIDX"),
        (patched(9, "<Q", 2), "has version 2"),
        (patched(17, "<B", 7), r"data type 7 \(float32\)"),
        (patched(17, "<B", 99), r"data type 99 \(none\)"),
        (patched(17, "<B", 5), "bytes of 8 a token"),
        (patched(18, "<Q", 2**63), "sequences with 6 borders of documents make"),
        (patched(26, "<Q", 2**64 - 1), "sequences with 18,446,744,073,709,551,615 borders"),
        (patched(18, "<Q", 0), "has 142 bytes, and 0 sequences"),
        (patched(LENGTHS, "<i", -3), "sequence 0 has -3 tokens"),
        (patched(LENGTHS + 8, "<i", 2**31 - 1), "sequence 2 has 2,147,483,647 tokens"),
        (patched(OFFSETS + 8, "<q", -2), "sequence 1 has 0 tokens from byte -2 on"),
        (patched(OFFSETS + 16, "<q", 2**62), "sequence 2 has 1 tokens from byte 4,611"),
        (patched(OFFSETS + 16, "<q", 3), "sequence 2 has 1 tokens from byte 3 on"),
        (patched(OFFSETS + 24, "<q", 2), "sequence 3 has 12 tokens from byte 2 on"),
        (patched(BORDERS, "<q", 1), "borders of its documents are damaged"),
        (patched(BORDERS + 16, "<q", 9), "borders of its documents are damaged"),
        (patched(BORDERS + 40, "<q", 6), "borders of its documents are damaged"),
    ],
)
def test_damaged_files_end_in_a_sentence(tmp_path, damage, said):
    token_files.write(tmp_path / "set", DOCUMENTS)
    damage(tmp_path)
    with pytest.raises(DataError, match=said) as error:
        open_indexed(tmp_path / "set")
    assert str(tmp_path / "set") in str(error.value)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("documents", [[], [[], []]])
def test_a_set_without_tokens(tmp_path, documents):
    token_files.write(tmp_path / "set", documents)
    with pytest.raises(DataError, match=r"holds no sequence|without a token"):
        open_indexed(tmp_path / "set")
