"""Clothing photographs in ten classes, from an archive to an image folder.

A cut of github.com/alexeygrigorev/clothing-dataset-small (CC0): JPEGs of about 30 kB whose shorter
side is 400 pixels. Far too few to learn from; they are there to measure how fast images of a real
size are read, decoded and cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttt.prepare.archive import Archive, unpack
from ttt.prepare.folder import Progress, silent

NEEDS = "clothing10.tar (github.com/alexeygrigorev/clothing-dataset-small, at most 90 + 20 a class)"
COUNTS = {"train": 900, "test": 179}
CLASSES = tuple("dress hat longsleeve outwear pants shirt shoes shorts skirt t-shirt".split())
# Bytes that no image exceeds, and that all together do not; there they have 81,068 and 30 million.
LARGEST, TOTAL = 1 << 20, 1 << 28


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Unpack an archive to `out`/train/<class>/ and `out`/test/<class>/; nothing if it is there.

    Args:
        out: The folder that becomes `data.root`.
        sources: A tar or zip file or folder with train/<class>/*.jpg and test/<class>/*.jpg, at its
            top or in one folder.
        progress: Called with (files unpacked, files in all).

    Raises:
        DataError: The archive is absent, damaged, unsafe or another one, or something else lies at
            `out`.
    """
    archive = Archive("clothing10", NEEDS, COUNTS, CLASSES, LARGEST, TOTAL)
    unpack(archive, out, sources, progress)
