"""ImageNet, or any folders of images by class, packed into shards with an index.

ImageNet (ILSVRC 2012) is not free to download for us: image-net.org gives it to those who register.
Its archives unpack to one folder a class for training, and to one folder for all validation images.
MLPerf's resnet benchmark is defined on it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ttt.data import bounds
from ttt.data.listing import Classes, folders_in, images_in
from ttt.errors import ConfigError, DataError
from ttt.prepare import packing
from ttt.prepare.encoding import without_mark
from ttt.prepare.folder import Progress, silent
from ttt.prepare.shards import Source

NEEDS = "a folder with train/<class>/ and val/<class>/, such as ImageNet's"
BENCHMARK = "resnet"
_TRAIN, _VAL = "train", "val"


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this set asks for."""
    packing.options(parser, "tfrecord", "1024")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle within train (0)")
    parser.add_argument(
        "--in-order", action="store_true", help="do not shuffle: as folders are listed"
    )
    parser.add_argument(
        "--val-labels",
        type=Path,
        metavar="FILE",
        help="for val images without class folders: their classes, a line each, by file name",
    )


def prepare(
    out: Path,
    sources: Sequence[Path] = (),
    progress: Progress = silent,
    *,
    format: str = "tfrecord",
    shards: int | None = None,
    seed: int = 0,
    in_order: bool = False,
    val_labels: Path | None = None,
) -> None:
    """Pack `sources`/train and `sources`/val to `out`/train and `out`/val; nothing if it is there.

    An interrupted packing goes on where it was, by shard, if it is asked for with the same words.

    Args:
        out: The folder that becomes `data.root`.
        sources: The one folder.
        progress: Called with (images packed, images in all).
        format: "tfrecord", "webdataset" or "recordio"; or "folder", which sorts validation images
            into class folders and links all files, or copies them where links cannot be.
        shards: Files for training; validation gets an eighth of that, rounded up. None: 1 in
            "recordio", else 1,024.
        seed: Of the shuffle of training samples over shards.
        in_order: Do not shuffle.
        val_labels: Class names of the validation images, if they lie in no class folders.

    Raises:
        ConfigError: An option has no effect.
        DataError: The folders are not two parts of one set, an image cannot be read or is none, or
            something else lies at `out`.
    """
    if len(sources) != 1 or not sources[0].is_dir():
        given = " ".join(map(str, sources)) or "nothing"
        raise DataError(f"--src is {given}; allowed: {NEEDS}; --src FOLDER")
    if wrong := packing.ignored(format, shards):
        raise ConfigError(wrong)
    if shards is None:
        shards = 1 if format == "recordio" else 1024
    [source] = sources
    classes = _classes(source / _TRAIN)
    train = _listed(source / _TRAIN)
    val = _sorted_by(val_labels, source / _VAL, classes) if val_labels else _val(source, classes)
    packing.write(
        out,
        {_TRAIN: train, _VAL: val},
        progress,
        kind=format,
        shards=shards,
        seed=None if in_order else seed,
        about={"source": str(source), "classes": classes},
    )


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; --src needs {NEEDS}")
    return [os.fsdecode(name) for name in folders_in(os.fsencode(folder))]


def _images(folder: Path) -> list[Path]:
    return [Path(os.fsdecode(path)) for path in images_in(os.fsencode(folder))]


def _listed(folder: Path) -> list[Source]:
    found = Classes.of(folder)
    if wrong := packing.faults(found):
        raise DataError(*wrong)
    if not found.images:
        raise DataError(f"{folder} has no class folders; --src needs {NEEDS}")
    return packing.sources_of(found)


def _val(source: Path, classes: Sequence[str]) -> list[Source]:
    folder = source / _VAL
    found = _classes(folder)
    if not found and (loose := len(_images(folder))):
        raise DataError(
            f"{folder} holds {loose} images and no class folders; type --val-labels FILE, a file"
            " with one class name a line in the order of the images' names (TensorFlow's"
            " imagenet_2012_validation_synset_labels.txt is one)"
        )
    if found != list(classes):
        odd = sorted({*found} ^ {*classes})
        shown = ", ".join(odd[:5]) + (", ..." if len(odd) > 5 else "")
        raise DataError(
            f"{folder} has {len(found)} classes and {source / _TRAIN} has {len(classes)}; both must"
            f" have the same, and these {len(odd)} are in one only: {shown}"
        )
    return _listed(folder)


def _sorted_by(labels: Path, folder: Path, classes: Sequence[str]) -> list[Source]:
    try:
        content = bounds.whole(labels, bounds.TEXT)
        classes_of = without_mark(content, labels).decode().split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--val-labels {labels} cannot be read: {error}") from error
    images = _images(folder) if folder.is_dir() else []
    if len(classes_of) != len(images):
        raise DataError(
            f"--val-labels {labels} has {len(classes_of)} lines and {folder} has {len(images)}"
            " images outside of class folders; each image needs one line"
        )
    known = {name: label for label, name in enumerate(classes)}
    for line, name in enumerate(classes_of, start=1):
        if name not in known:
            raise DataError(f"{labels}, line {line}: {name} is no class folder of {_TRAIN}")
    return [
        Source(path, known[name], f"{name}/{path.name}")
        for path, name in zip(images, classes_of, strict=True)
    ]
