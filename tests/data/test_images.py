"""Image folders: what is listed, in which order, and how a wrong set is reported.

Also the small image folders and the worlds that the other loader tests use.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ground import PROJECT
from ttt.data.images import ImageSet, list_eval, list_train
from ttt.errors import DataError
from ttt.protocols import Shard

SIZE = 12
TRAIN, EVAL, CLASSES = 37, 17, 3
MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]


@dataclass
class OneProcess:
    """A world of one process that may hold any shard."""

    data: Shard = field(default_factory=Shard)
    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    nodes: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def concat(self, part):
        return part


def settings(root, **changes):
    return {
        "root": str(root),
        "train_samples": TRAIN,
        "eval_samples": EVAL,
        "classes": CLASSES,
        "size": SIZE,
        "global_batch": 8,
        "eval_batch": 4,
        "augment": "none",
        "pad": 0,
        "area": [0.3, 1.0],
        "ratio": [0.75, 1.3333],
        "flip": False,
        "eval_resize": None,
        "mean": MEAN,
        "std": STD,
        "threads": 1,
        "prefetch": 2,
        "on_error": "error",
    } | changes


def write_set(root, sizes=((SIZE, SIZE),), *, smooth=False):
    """Random images in the given sizes by turns; the file names sort in the order of the ids.

    Smooth ones look alike through any good scaling filter, but not through a shifted window.
    """
    random = np.random.default_rng(0)
    for part, count in (("train", TRAIN), ("test", EVAL)):
        labels = sorted(i % CLASSES for i in range(count))
        for i, label in enumerate(labels):
            folder = root / part / f"class_{label}"
            folder.mkdir(parents=True, exist_ok=True)
            height, width = sizes[i % len(sizes)]
            drawn = (4, 4, 3) if smooth else (height, width, 3)
            image = Image.fromarray(random.integers(0, 256, drawn, dtype=np.uint8))
            image.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i:03d}.png")
    return root


def read_part(root, part):
    """Paths, pixels as Pillow decodes them, and labels, in the order of the ids."""
    paths = sorted((root / part).glob("*/*"))
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return paths, pixels, [int(path.parent.name[-1]) for path in paths]


def normalized(pixels):
    """[..., H, W, 3] of 0..255 as [..., 3, H, W] with mean and std applied, in float64."""
    scaled = (np.asarray(pixels, np.float64) / 255 - MEAN) / STD
    return np.moveaxis(scaled, -1, -3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("set"))


def image_set(root, **changes):
    return ImageSet(**settings(root, **changes))


def test_listing_is_sorted_and_labelled_by_folder(folder):
    for listing, part in (
        (list_train(image_set(folder)), "train"),
        (list_eval(image_set(folder)), "test"),
    ):
        paths, _, labels = read_part(folder, part)
        assert [listing.path(i) for i in range(len(paths))] == paths
        assert listing.labels.tolist() == labels


def test_other_files_and_hidden_folders_are_not_images(tmp_path):
    write_set(tmp_path)
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "class_0" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "README").write_text("no folder")
    (tmp_path / "train" / "class_0" / "000.png").rename(tmp_path / "train" / "class_0" / "000.PNG")
    assert len(list_train(image_set(tmp_path)).labels) == TRAIN


def test_names_need_not_be_ascii_or_of_one_length(tmp_path):
    write_set(tmp_path)
    odd = tmp_path / "train" / "class_0" / "0 é 日本, long name.png"
    (tmp_path / "train" / "class_0" / "000.png").rename(odd)
    listing = list_train(image_set(tmp_path))
    assert odd in [listing.path(i) for i in range(TRAIN)]


def renamed(root):
    (root / "test" / "class_2").rename(root / "test" / "class_x")


def emptied(root):
    for path in (root / "train" / "class_1").iterdir():
        path.unlink()


def less_one(root):
    (root / "test" / "class_0" / "000.png").unlink()


@pytest.mark.parametrize(
    ("break_it", "changes", "said"),
    [
        (None, {"root": "/nowhere/at/all"}, ["/nowhere/at/all", "data.root=DIR"]),
        (None, {"train_dir": "training"}, ["training", "data.train_dir=NAME"]),
        (None, {"eval_dir": "val"}, ["val", "data.eval_dir=NAME"]),
        (None, {"classes": 10}, ["3 class folders", "data.classes=10", "type data.classes=3"]),
        (None, {"train_samples": 50}, ["37 images", "=50", "type data.train_samples=37"]),
        (less_one, {}, ["16 images", "=17", "type data.eval_samples=16"]),
        (renamed, {}, ["class_2", "class_x"]),
        (emptied, {}, ["1 class folder holds no image: class_1", "data.train_samples=25"]),
    ],
)
def test_a_wrong_set_is_reported_with_what_to_type(tmp_path, break_it, changes, said):
    write_set(tmp_path)
    if break_it:
        break_it(tmp_path)
    images = ImageSet(**(settings(tmp_path) | changes))
    with pytest.raises(DataError) as caught:
        [list_part(images) for list_part in (list_train, list_eval)]
    for words in said:
        assert words in str(caught.value)


def test_shared_cifar10_lists_if_present(tmp_path):
    shared = Path(os.environ.get("TTT_SHARED", PROJECT.parent / "shared"))
    archive = shared / "data" / "cifar10" / "cifar10-jpg.tar.gz"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    from ttt.prepare import cifar10

    cifar10.prepare(tmp_path / "set", [archive])
    images = image_set(tmp_path / "set", train_samples=50_000, eval_samples=10_000, classes=10)
    assert np.bincount(list_train(images).labels).tolist() == [5000] * 10
    assert np.bincount(list_eval(images).labels).tolist() == [1000] * 10
