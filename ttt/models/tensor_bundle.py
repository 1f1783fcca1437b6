"""Reads TensorFlow's checkpoints without TensorFlow: a table of names, and the tensors' bytes.

`NAME.index` is a sorted table as LevelDB writes it (google/leveldb, doc/table_format.md): blocks of
entries that share beginnings with the one before, a block of the blocks' places, and a footer. Each
value is a BundleEntryProto (tensorflow/core/protobuf/tensor_bundle.proto), which says where in
`NAME.data-00000-of-00001` a tensor is. Checksums are not compared. NumPy only.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt import foreign
from ttt.errors import DataError
from ttt.protobuf import fields, integer

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48  # bytes: two places, padding, the magic
_TRAILER = 5  # bytes after a block: how it is packed, and a checksum
_INDEX = 1 << 26  # bytes of an index; that of BERT-large has about 50,000
_FLOAT = 1  # DT_FLOAT
_DATA = ".data-00000-of-00001"

Bytes = memoryview


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


class Bundle:
    """A checkpoint of one data file.

    Args:
        path: NAME, NAME.index or NAME.data-00000-of-00001.

    Raises:
        DataError: It is absent or damaged.
    """

    def __init__(self, path: Path) -> None:
        name = str(path).removesuffix(_DATA).removesuffix(".index")
        self._index, self._data = Path(f"{name}.index"), Path(f"{name}{_DATA}")
        try:
            with open(self._index, "rb", opener=foreign.of_any_size) as file:
                table = memoryview(file.read(_INDEX))
            self._bytes = self._data.stat().st_size
            self._entries = dict(_entries(table))
        except OSError as error:
            raise DataError(
                f"{error.filename} cannot be read: {error.strerror}; a checkpoint of"
                f" TensorFlow's is NAME.index and NAME{_DATA}; type model.initial=FILE"
            ) from error
        except (ValueError, IndexError, struct.error) as error:
            raise DataError(
                f"{self._index} is no index of a TensorFlow checkpoint: {error}; copy it again, or"
                " type model.initial=FILE"
            ) from error

    def names(self) -> list[str]:
        """The names of its tensors."""
        return [name for name in self._entries if name]

    def read(self, name: str) -> npt.NDArray[np.float32] | None:
        """A tensor of floats; None if there is none of this name.

        Raises:
            DataError: It is no tensor of floats, or lies outside the data file.
        """
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.kind != _FLOAT or entry.size != 4 * math.prod(entry.shape) or entry.shard:
            raise DataError(f"{self._index}: {name} is no tensor of 32-bit floats in {self._data}")
        if entry.offset + entry.size > self._bytes:
            raise DataError(f"{self._data} is cut short: {name} ends behind it; copy it again")
        with open(self._data, "rb", opener=foreign.of_any_size) as file:
            content = os.pread(file.fileno(), entry.size, entry.offset)
        if len(content) < entry.size:
            raise DataError(f"{self._data} is cut short: {name} ends behind it; copy it again")
        return np.frombuffer(content, "<f4").astype(np.float32).reshape(entry.shape)


def _entries(table: Bytes) -> Iterator[tuple[str, _Entry]]:
    if len(table) < _FOOTER or struct.unpack("<Q", table[-8:])[0] != _MAGIC:
        raise ValueError("it does not end as one does")
    footer, at = table[-_FOOTER:], 0
    for _ in range(2):  # the first place is that of a block of filters
        _, at = integer(footer, at)
    offset, at = integer(footer, at)
    size, at = integer(footer, at)
    for _, place in _block(table, offset, size):
        begin, after = integer(place)
        for key, value in _block(table, begin, integer(place, after)[0]):
            if key:  # the empty name has the header
                yield key.decode("utf-8", "replace"), _entry(value)


def _block(table: Bytes, offset: int, size: int) -> Iterator[tuple[bytes, Bytes]]:
    """Keys and values of a block."""
    end = offset + size
    if end + _TRAILER > len(table):
        raise ValueError("a block ends behind it")
    if table[end]:
        raise ValueError("its blocks are compressed, which TensorFlow does not do")
    block = table[offset:end]
    restarts = struct.unpack("<I", block[-4:])[0]
    stop, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < stop:
        shared, at = integer(block, at)
        own, at = integer(block, at)
        length, at = integer(block, at)
        if shared > len(key) or at + own + length > stop:
            raise ValueError("an entry ends behind its block")
        key = key[:shared] + bytes(block[at : at + own])
        yield key, block[at + own : at + own + length]
        at += own + length


def _entry(message: Bytes) -> _Entry:
    """A BundleEntryProto: data type 1, shape 2, shard 3, offset 4, size 5."""
    found = dict(fields(message))
    shape = tuple(
        _number(dict(fields(dim)), 1)
        for number, dim in fields(found.get(2, Bytes(b"")))
        if number == 2
    )
    kind, shard, offset, size = (_number(found, number) for number in (1, 3, 4, 5))
    return _Entry(kind, shape, shard, offset, size)


def _number(found: dict[int, Bytes], field: int) -> int:
    """The integer that a field holds; 0 if it is not there."""
    return integer(found[field])[0] if field in found else 0
