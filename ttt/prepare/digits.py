"""scikit-learn's handwritten digits as an image folder: 1,797 real images, no download.

The test part of the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak,
1998), 8 x 8 pixels of 17 grey levels, shipped inside scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ttt.errors import MissingExtra
from ttt.prepare.folder import Progress, is_complete, silent, whole_folder, write_manifest

NEEDS = None  # nothing to download
COUNTS = {"train": 1437, "test": 360}
SEED = 0


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Write `out`/train/<digit>/NNNN.png and `out`/test/<digit>/NNNN.png; nothing if it is there.

    NNNN is the image's place in scikit-learn's array. Grey levels 0..16 become 0..255.

    Args:
        out: The folder that becomes `data.root`.
        sources: Unused: the set comes with scikit-learn.
        progress: Called with (files written, files in all).

    Raises:
        MissingExtra: scikit-learn or Pillow is not installed.
        DataError: Something else lies at `out`.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - an extra, and slow to import
        from sklearn.datasets import load_digits  # noqa: PLC0415
    except ImportError as error:
        package = "pillow" if error.name == "PIL" else "scikit-learn"
        raise MissingExtra(package, "digits", "preparing the handwritten digits") from error
    if is_complete(out, COUNTS):
        return
    digits = load_digits()
    levels = (np.asarray(digits.images, dtype=np.int64) * 255 + 8) // 16
    held_out = held_out_places(digits.target, COUNTS["test"])
    with whole_folder(out) as folder:
        for place, (pixels, label) in enumerate(zip(levels, digits.target, strict=True)):
            part = "test" if held_out[place] else "train"
            path = folder / part / str(label) / f"{place:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            progress(place + 1, len(levels))
        write_manifest(folder, "scikit-learn load_digits", COUNTS)


def held_out_places(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.bool_]:
    """Which samples are for testing: a shuffled split that gives each class its fair share.

    The set comes writer by writer, so its tail is people the head never saw; shuffling makes both
    parts the same mixture. Samples are shuffled, sorted by class without undoing the shuffle within
    one, and every (N / count)-th is taken: no class is off its proportional share by more than one.
    NumPy promises that `RandomState` never changes its numbers, so the split is the same for ever.
    """
    total = len(labels)
    shuffled = np.random.RandomState(SEED).permutation(total)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    steps = np.arange(total + 1) * count // total
    chosen = np.zeros(total, np.bool_)
    chosen[by_class[np.diff(steps) == 1]] = True
    return chosen
