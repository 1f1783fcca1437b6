"""Tokens on disk as Megatron-LM writes them: PREFIX.bin holds them, PREFIX.idx says where they lie.

The layout is that of `megatron/core/datasets/indexed_dataset.py` of NVIDIA/Megatron-LM
(core_r0.11.0), all little-endian. PREFIX.idx: `MMIDIDX` and two zero bytes; u64 version 1; u8 code
of the data type; u64 N, the sequences; u64 D, the documents and one more; i32 [N] lengths in
tokens; i64 [N] where each begins in PREFIX.bin, in bytes; i64 [D] the first sequence of each
document, and the end; in sets of several kinds of data i8 [N] more. Text has one sequence a
document.

Both files are mapped, and of PREFIX.bin nothing is read but the tokens that are asked for. NumPy
only: preparers, loaders and checks share this file.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ttt.data import bounds
from ttt.errors import DataError

SMALL = 65_500  # token ids that fit into 16 bits, as Megatron decides it (`optimal_dtype`)

_MAGIC = b"MMIDIDX\0\0"
_HEAD = struct.Struct("<9sQBQQ")
_DTYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}
_CODES = {2: 8, 4: 4}  # of the two types that are written, by their bytes
_BLOCK = 1 << 20  # entries of an index that are looked at or written at a time
_SOON = 1 << 30  # bytes of tokens that the kernel may read in before they are asked for
_AGAIN = "get or make both files again"

Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Indexed:
    """One pair of files, mapped.

    Attributes:
        prefix: Their path without `.bin` and `.idx`.
        tokens: All token ids, [T'], of any integer type.
        lengths: Tokens of each sequence, int32 [N].
        offsets: Where each begins in the file of tokens, in bytes, int64 [N].
        total: Tokens of all sequences.
    """

    prefix: Path
    tokens: Ints
    lengths: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    total: int

    def read(self, sequence: int, begin: int, count: int) -> Ints:
        """Some tokens of a sequence; a view of the file."""
        first = int(self.offsets[sequence]) // self.tokens.itemsize + begin
        return self.tokens[first : first + count]

    def samples(self, length: int) -> int:
        """Samples of `length` tokens, each with the token after it, in all sequences end to end."""
        return max(0, self.total - 1) // length


def open_indexed(prefix: Path) -> Indexed:
    """Map a pair of files after checking the index, all of it, against the size of the tokens.

    Raises:
        DataError: A file is missing or damaged, or they do not belong together.
    """
    index_path, tokens_path = (Path(f"{prefix}{suffix}") for suffix in (".idx", ".bin"))
    try:
        with bounds.opened(index_path) as index, bounds.opened(tokens_path) as tokens:
            return _mapped(prefix, index, tokens)
    except FileNotFoundError as error:
        raise DataError(
            f"{error.filename} is missing: a set of tokens has a .bin and a .idx for each part;"
            " type data.root=DIR, or data.train=NAME and data.eval=NAME without these endings"
        ) from error
    except OSError as error:
        raise DataError(f"{prefix}.idx or .bin cannot be read: {error.strerror}") from error


def _mapped(prefix: Path, index: BinaryIO, tokens: BinaryIO) -> Indexed:
    name = f"{prefix}.idx"
    own, size = (os.fstat(file.fileno()).st_size for file in (index, tokens))
    head = index.read(_HEAD.size)
    if not head.startswith(_MAGIC) or len(head) < _HEAD.size:
        raise DataError(
            f"{name} is no index of Megatron's: it has {own:,} bytes and begins with {head[:9]!r};"
            f" allowed: {_HEAD.size} bytes or more that begin with {_MAGIC!r}"
        )
    _, version, code, count, entries = _HEAD.unpack(head)
    if version != 1:
        raise DataError(f"{name} has version {version}, in its byte 9; allowed: 1")
    dtype = _DTYPES.get(code, "")
    if "f" in dtype or not dtype:
        found = {6: "float64", 7: "float32"}.get(code, "none")
        raise DataError(
            f"{name} has the data type {code} ({found}), in its byte 17; allowed: token ids, 1 to 5"
            " and 8"
        )
    plain = _HEAD.size + 12 * count + 8 * entries
    if own not in (plain, plain + count):
        raise DataError(
            f"{name} has {own:,} bytes, and {count:,} sequences with {entries:,} borders of"
            f" documents make {plain:,}: it is cut short or damaged; {_AGAIN}"
        )
    if not count:
        raise DataError(f"{name} holds no sequence; allowed: 1 or more")
    raw = np.memmap(index, np.uint8, mode="r")
    lengths = np.frombuffer(raw, "<i4", count, _HEAD.size)
    offsets = np.frombuffer(raw, "<i8", count, _HEAD.size + 4 * count)
    documents = np.frombuffer(raw, "<i8", entries, _HEAD.size + 12 * count)
    total = _checked(name, lengths, offsets, np.dtype(dtype).itemsize, size)
    _check_documents(name, documents, count)
    if not total:
        raise DataError(f"{name} has {count:,} sequences without a token; allowed: text")
    mapped = np.memmap(tokens, dtype, mode="r", shape=(size // np.dtype(dtype).itemsize,))
    # Documents are asked for in random order. A small file is read in one pass instead; of a large
    # one the kernel would read 128 kB for each document of some 2 kB.
    advice = mmap.MADV_WILLNEED if size < _SOON else mmap.MADV_RANDOM
    mapped._mmap.madvise(advice)  # type: ignore[attr-defined]
    return Indexed(prefix, np.asarray(mapped), lengths, offsets, total)


def _checked(name: str, lengths: Any, offsets: Any, itemsize: int, size: int) -> int:
    """The sum of all lengths, if every sequence lies in a file of this size, in ascending order.

    Raises:
        DataError: One does not.
    """
    total, before = 0, 0
    for first in range(0, len(lengths), _BLOCK):
        long = lengths[first : first + _BLOCK].astype(np.int64)
        at = offsets[first : first + _BLOCK]
        # Compared one by one, so that no sum of what a damaged file says can overflow.
        outside = (long < 0) | (at < 0) | (at > size) | (long > (size - at) // itemsize)
        wrong = outside | (at % itemsize != 0) | (np.diff(at, prepend=before) < 0)
        if wrong.any():
            place = int(wrong.argmax())
            found = f"has {int(long[place]):,} tokens from byte {int(at[place]):,} on"
            raise DataError(
                f"{name}: sequence {first + place:,} {found}, and the .bin has {size:,} bytes of"
                f" {itemsize} a token; allowed: sequences inside of it, in ascending order; one of"
                f" the files is cut short, damaged or of another set: {_AGAIN}"
            )
        before = int(at[-1])
        total += int(long.sum())
    return total


def _check_documents(name: str, documents: Any, count: int) -> None:
    """Refuse documents that are not neighbours which share out all sequences.

    Raises:
        DataError: They are not.
    """
    sound = len(documents) > 0 and documents[0] == 0 and documents[-1] == count
    for first in range(0, len(documents), _BLOCK):
        sound = sound and bool((np.diff(documents[first : first + _BLOCK + 1]) >= 0).all())
    if not sound:
        raise DataError(
            f"{name}: the borders of its documents are damaged; allowed: from 0 to {count:,}, the"
            f" number of sequences, in ascending order; {_AGAIN}"
        )


def dtype_for(vocabulary: int) -> np.dtype[Any]:
    """The type that Megatron writes token ids of a vocabulary in."""
    return np.dtype("<u2" if vocabulary < SMALL else "<i4")


class Writer:
    """Writes PREFIX.bin document by document, and PREFIX.idx at the end of a `with` block.

    Of each document four bytes are kept in memory.

    Args:
        prefix: Path of both files without their endings.
        dtype: What token ids are written as, of `dtype_for`.
    """

    def __init__(self, prefix: Path, dtype: np.dtype[Any]) -> None:
        self._prefix, self._dtype = prefix, dtype
        self._lengths: list[npt.NDArray[np.int32]] = []
        self.tokens = 0
        self.documents = 0

    def __enter__(self) -> Writer:
        self._file = Path(f"{self._prefix}.bin").open("wb")
        return self

    def write(self, documents: Iterable[npt.ArrayLike]) -> None:
        """Append documents, each a list of token ids."""
        rows = [np.asarray(ids, dtype=self._dtype) for ids in documents]
        # At once: opening a way to the file for each document would take most of the time.
        np.concatenate([np.empty(0, self._dtype), *rows]).tofile(self._file)
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        self._lengths.append(lengths)
        self.documents += len(rows)
        self.tokens += int(lengths.sum(dtype=np.int64))

    def __exit__(self, kind: object, *_: object) -> None:
        self._file.close()
        if kind is None:
            with Path(f"{self._prefix}.idx").open("wb") as index:
                for block in self._index():
                    index.write(block)

    def _index(self) -> Iterator[bytes]:
        lengths = np.concatenate([np.empty(0, np.int32), *self._lengths])
        count, itemsize = len(lengths), self._dtype.itemsize
        yield _HEAD.pack(_MAGIC, 1, _CODES[itemsize], count, count + 1)
        yield lengths.astype("<i4").tobytes()
        before = 0
        for first in range(0, count, _BLOCK):
            ends = before + lengths[first : first + _BLOCK].cumsum(dtype="<i8")
            yield (np.concatenate([[before], ends[:-1]]) * itemsize).astype("<i8").tobytes()
            before = int(ends[-1])
        yield np.arange(count + 1, dtype="<i8").tobytes()
