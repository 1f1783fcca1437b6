"""A made-up JPEG whose every pixel is known: flat coloured blocks of 8 x 8 pixels.

Written without an encoder, so that nothing but the decoder can be wrong.
"""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_BLOCK = 8
_MIDDLE = 128  # of 0..255; JPEG's numbers are differences from it
# Categories 0 to 8 of differences, each with a code of four bits: 0000 to 1000.
_CODES = bytes([0, 0, 0, 9, *[0] * 12, *range(9)])
_ONE_CODE = bytes([1, *[0] * 15, 0])  # "end of block", one bit

Colours = npt.NDArray[np.uint8]


def colours(rows: int, columns: int, seed: int) -> Colours:
    """Random Y, Cb and Cr of each block, uint8 [rows, columns, 3], none of which leaves RGB."""
    drawn = np.random.default_rng(seed)
    bright = drawn.integers(70, 186, (rows, columns, 1), np.uint8)
    return np.concatenate([bright, drawn.integers(100, 157, (rows, columns, 2), np.uint8)], axis=2)


def pixels(blocks: Colours) -> Colours:
    """What a decoder gives: RGB, uint8 [8 * rows, 8 * columns, 3] (JFIF 1.02, "Colour space").

    Args:
        blocks: Y, Cb and Cr of each block, uint8 [rows, columns, 3].
    """
    y, cb, cr = (blocks[..., i].astype(np.float64) for i in range(3))
    cb, cr = cb - _MIDDLE, cr - _MIDDLE
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2)
    return rgb.round().clip(0, 255).astype(np.uint8).repeat(_BLOCK, 0).repeat(_BLOCK, 1)


def jpeg(blocks: Colours) -> bytes:
    """A baseline JPEG without subsampling (ITU-T T.81, annexes B and F).

    Only the mean of a block is coded, as a difference from the block before. It counts in eighths,
    and its quantization step is 8.

    Args:
        blocks: Y, Cb and Cr of each block, uint8 [rows, columns, 3].
    """
    rows, columns, _ = blocks.shape
    bits = "".join(_coded(blocks))
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    components = bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    segments = (
        (0xDB, bytes([0, _BLOCK, *[1] * 63])),
        (0xC0, struct.pack(">BHHB", 8, _BLOCK * rows, _BLOCK * columns, 3) + components),
        (0xC4, bytes([0x00]) + _CODES),
        (0xC4, bytes([0x10]) + _ONE_CODE),
        (0xDA, bytes([3, 1, 0, 2, 0, 3, 0, 0, 63, 0])),
    )
    packed = b"".join(struct.pack(">BBH", 0xFF, m, len(p) + 2) + p for m, p in segments)
    return b"\xff\xd8" + packed + scan + b"\xff\xd9"


def _coded(blocks: Colours) -> Iterator[str]:
    """The bits of each component of each block."""
    before = [_MIDDLE] * 3
    for block in blocks.reshape(-1, 3).tolist():
        for component, value in enumerate(block):
            difference = value - before[component]
            before[component] = value
            size = abs(difference).bit_length()
            yield f"{size:04b}"
            if size:  # a negative one is coded as itself less one, in so many bits
                offset = difference if difference > 0 else difference + (1 << size) - 1
                yield f"{offset:0{size}b}"
            yield "0"
