"""CRC-32C (Castagnoli; RFC 3720, appendix B.4), which TFRecord files carry; NumPy only.

A checksum is linear over GF(2), so that of a long text follows from those of its halves. Here all
bytes are looked up at once and neighbours are joined level by level, a handful of NumPy calls a
level, instead of one step of Python a byte.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78  # reflected: the lowest bit is the first sent

Words = npt.NDArray[np.uint32]


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of `data`; 0xE3069283 for b"123456789"."""
    text = np.frombuffer(data, np.uint8)
    if len(text) < 4:
        return _by_steps(text.tobytes())
    # A register of all ones before the text is the text with its first four bytes inverted; and
    # zeros in front of a text change nothing, as long as the register holds zeros.
    odd = len(text) % 2
    padded = np.zeros(len(text) + odd, np.uint8)
    padded[odd:] = text
    padded[odd : odd + 4] ^= 0xFF
    parts = _pair_table()[padded.view("<u2")]
    level = 1
    while len(parts) > 1:
        if len(parts) % 2:
            parts = np.concatenate([np.zeros(1, np.uint32), parts])
        parts = _shifted(parts[0::2], level) ^ parts[1::2]
        level += 1
    return int(parts[0]) ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """A checksum as TFRecord stores it: turned by 15 bits and displaced.

    So that the checksum of a text that holds checksums is no degenerate one
    (tensorflow/core/lib/hash/crc32c.h).
    """
    turned = (checksum >> 15 | checksum << 17) & 0xFFFFFFFF
    return (turned + 0xA282EAD8) & 0xFFFFFFFF


def _by_steps(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register = int(_byte_table()[(register ^ byte) & 0xFF]) ^ (register >> 8)
    return register ^ 0xFFFFFFFF


@cache
def _byte_table() -> Words:
    """What each byte leaves in a register of zeros."""
    words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        words = np.where(words & 1, (words >> 1) ^ np.uint32(_POLYNOMIAL), words >> 1)
    return words.astype(np.uint32)


@cache
def _pair_table() -> Words:
    """What each pair of bytes leaves in a register of zeros, by their little-endian number."""
    table, pairs = _byte_table(), np.arange(65536, dtype=np.uint32)
    first = table[pairs & 0xFF]
    both: Words = table[(first ^ pairs >> 8) & 0xFF] ^ first >> 8
    return both


def _shifted(words: Words, level: int) -> Words:
    """What 2**level zero bytes make of registers."""
    tables = _shift_tables(level)
    moved: Words = (
        tables[0][words & 0xFF]
        ^ tables[1][(words >> 8) & 0xFF]
        ^ tables[2][(words >> 16) & 0xFF]
        ^ tables[3][words >> 24]
    )
    return moved


@cache
def _shift_tables(level: int) -> Words:
    """`_shifted` of every byte in each of the four places, uint32 [4, 256]."""
    places = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32)[:, None])
    if level == 0:
        tables: Words = _byte_table()[places & 0xFF] ^ places >> 8
        return tables
    return _shifted(_shifted(places, level - 1), level - 1)
