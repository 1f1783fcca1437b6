"""Masked sequences in TFRecord files, as the reference's create_pretraining_data.py writes them.

A record is a tf.train.Example with seven lists (mlcommons/training, retired_benchmarks/bert):
input_ids, input_mask and segment_ids of S numbers; masked_lm_positions, masked_lm_ids and
masked_lm_weights of P; next_sentence_labels of one. In memory a sample is these numbers in this
order, 3 S + 3 P + 1 words of 32 bits, so that a batch goes to the device in one copy.

NumPy only: preparers and loaders share this file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt.data import bounds
from ttt.data.crc32c import crc32c, masked
from ttt.data.formats import Damaged
from ttt.errors import DataError
from ttt.protobuf import LENGTH, field, fields, packed_integer

Words = npt.NDArray[np.int32]
Column = npt.NDArray[np.int64]

_SEQUENCE = ("input_ids", "input_mask", "segment_ids")
_PREDICTED = ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
_FOLLOWS = "next_sentence_labels"
_WEIGHTS = "masked_lm_weights"
_FRAME = 16  # bytes: a length, its checksum, and the checksum of the content
_RECORD = 1 << 20  # bytes of a record; real ones have about 2,500
_fields = partial(fields, kinds=(LENGTH,))  # all fields of such a record have a length


def lengths(length: int, predictions: int) -> dict[str, int]:
    """How many numbers each list has, in the order of a sample's words."""
    return dict.fromkeys(_SEQUENCE, length) | dict.fromkeys(_PREDICTED, predictions) | {_FOLLOWS: 1}


def pack(sample: Words, length: int, predictions: int) -> bytes:
    """A whole record, framing included.

    Args:
        sample: 3 S + 3 P + 1 words.
        length: S.
        predictions: P.
    """
    entries, at = b"", 0
    for name, count in lengths(length, predictions).items():
        numbers = sample[at : at + count]
        at += count
        if name == _WEIGHTS:
            feature = field(2, field(1, numbers.astype("<f4").tobytes()))
        else:
            feature = field(3, field(1, b"".join(map(packed_integer, numbers.tolist()))))
        entries += field(1, field(1, name.encode()) + field(2, feature))
    content = field(1, entries)
    head = struct.pack("<Q", len(content))
    checks = [struct.pack("<I", masked(crc32c(part))) for part in (head, content)]
    return head + checks[0] + content + checks[1]


def parse(record: bytes, length: int, predictions: int) -> Words:
    """The words of a whole record.

    Raises:
        Damaged: It is none, or its lists have other lengths.
    """
    if len(record) < _FRAME or struct.unpack_from("<Q", record)[0] != len(record) - _FRAME:
        raise Damaged("its length is not the one it begins with")
    found: dict[str, Words] = {}
    try:
        for _, features in _fields(memoryview(record)[12:-4]):
            for _, entry in _fields(features):
                key, value = (content for _, content in _fields(entry))
                [(kind, values)] = _fields(value)
                found[bytes(key).decode("ascii", "replace")] = _numbers(kind, _first(values))
    except (ValueError, IndexError, TypeError) as error:
        raise Damaged(f"it is no tf.train.Example of lists of numbers: {error}") from error
    columns = []
    for name, count in lengths(length, predictions).items():
        there = len(found.get(name, ()))
        if there != count:
            raise Damaged(f"its {name} has {there} numbers, not {count}")
        columns.append(found[name])
    return np.concatenate(columns)


def strange(samples: Words, length: int, predictions: int, vocabulary: int) -> str | None:
    """What cannot be in samples [B, W]; None if all can."""
    tops = {name: vocabulary for name in ("input_ids", "masked_lm_ids")}
    tops |= {"masked_lm_positions": length}
    at = 0
    for name, count in lengths(length, predictions).items():
        part, top = samples[:, at : at + count], tops.get(name, 2)
        at += count
        if part.size and (part.min() < 0 or part.max() >= top):
            value = int(part.min() if part.min() < 0 else part.max())
            more = f", or data.vocabulary={value + 1} or more" if value >= top == vocabulary else ""
            return f"its {name} has {value}; allowed: 0 to {top - 1}{more}"
    return None


def places(file: Path) -> Column:
    """Where each record of a file begins and how long it is, in bytes, int64 [N, 2].

    Reads the frames only.

    Raises:
        DataError: The file cannot be read, or is cut short, or is none of TFRecords.
    """
    found: list[tuple[int, int]] = []
    try:
        with bounds.opened(file) as stream:
            size, at = os.fstat(stream.fileno()).st_size, 0
            while at < size:
                stream.seek(at)
                head = stream.read(8)
                length = struct.unpack("<Q", head)[0] + _FRAME if len(head) == 8 else 0
                if not _FRAME <= length <= min(_RECORD, size - at):
                    raise DataError(
                        f"{file}, byte {at}: no record of a TFRecord file begins here, or it is cut"
                        " short; copy the file again"
                    )
                found.append((at, length))
                at += length
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}; type data.root=DIR") from error
    return np.array(found, np.int64).reshape(-1, 2)


def read(file: Path, where: Sequence[Sequence[int]]) -> list[bytes]:
    """The records of a file at some places, as `places` gives these.

    Raises:
        DataError: The file cannot be read.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            return [os.pread(descriptor, size, at) for at, size in where]
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}; type data.root=DIR") from error


def to_predict(record: bytes, predictions: int) -> int:
    """How many words of a whole record are to be predicted; looks at its weights only.

    Raises:
        Damaged: It has not this many weights.
    """
    at = record.find(_WEIGHTS_KEY)
    try:
        if at < 0:
            raise ValueError("there is none")
        [(kind, values)] = _fields(_first(memoryview(record)[at + len(_WEIGHTS_KEY) :]))
        weights = _numbers(kind, _first(values))
    except (ValueError, IndexError) as error:
        raise Damaged(f"its {_WEIGHTS} are no list of numbers: {error}") from error
    if len(weights) != predictions:
        raise Damaged(f"its {_WEIGHTS} has {len(weights)} numbers, not {predictions}")
    return int(weights.sum())


def _first(message: memoryview) -> memoryview:
    """What the first field of a protocol buffer holds; empty if it has none."""
    return next((content for _, content in _fields(message)), message[:0])


def _numbers(kind: int, content: memoryview) -> Words:
    """Numbers of a packed list: kind 2 is floats, 3 integers."""
    if kind == 2:
        if len(content) % 4:
            raise ValueError("a list of floats ends within one")
        floats = np.frombuffer(content, "<f4")
        if not ((floats == 0) | (floats == 1)).all():
            raise ValueError("a weight is neither 0 nor 1")
        return floats.astype(np.int32)
    data = np.frombuffer(content, np.uint8)
    if not len(data):
        return np.empty(0, np.int32)
    last = data < 0x80
    if last.all():  # of most lists
        return data.astype(np.int32)
    if not last[-1]:
        raise ValueError("a list of integers ends within one")
    begins = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    within = np.arange(len(data)) - np.repeat(begins, np.diff(begins, append=len(data)))
    if within.max() > 3:  # 28 bits
        raise ValueError("an integer is negative or above 28 bits")
    digits = (data & 0x7F).astype(np.int64) << (7 * within)
    numbers: Words = np.add.reduceat(digits, begins).astype(np.int32)
    return numbers


_WEIGHTS_KEY = field(1, _WEIGHTS.encode())  # as it stands in a record, before the weights
