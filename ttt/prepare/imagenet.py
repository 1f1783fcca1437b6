"""ImageNet, or any folders of images by class, packed into shards with an index.

ImageNet (ILSVRC 2012) is not free to download for us: image-net.org gives it to those who register,
as archives that unpack to one folder a class for training, and to one folder for all validation
images. MLPerf's resnet benchmark is defined on it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttt.data.listing import Classes, folders_in, images_in, names
from ttt.errors import DataError
from ttt.prepare.encoding import without_mark
from ttt.prepare.folder import MANIFEST, Progress, silent, whole_folder, write_manifest
from ttt.prepare.shards import FORMATS, Part, Source, write_part

NEEDS = "a folder with train/<class>/ and val/<class>/, such as ImageNet's"
BENCHMARK = "resnet"
PLAN = "packing.json"  # what is being packed, while it is
_TRAIN, _VAL = "train", "val"


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this set asks for."""
    parser.add_argument("--format", choices=("folder", *FORMATS), default="tfrecord")
    parser.add_argument(
        "--shards",
        type=int,
        help="files for training, an eighth as many for val (1024; recordio 1, since DALI's and"
        " MXNet's readers take a single index)",
    )
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
        DataError: The folders are not two parts of one set, an image cannot be read or is none, or
            something else lies at `out`.
    """
    if len(sources) != 1 or not sources[0].is_dir():
        given = " ".join(map(str, sources)) or "nothing"
        raise DataError(f"--src is {given}; allowed: {NEEDS}; --src FOLDER")
    if shards is None:
        shards = 1 if format == "recordio" else 1024
    if shards < 1:
        raise DataError(f"--shards is {shards}; allowed: above 0; --shards 1024")
    [source] = sources
    classes = _classes(source / _TRAIN)
    train = _sources(source / _TRAIN, classes)
    val = _sorted_by(val_labels, source / _VAL, classes) if val_labels else _val(source, classes)
    shuffle = None if in_order else seed
    parts = (
        Part(_TRAIN, train, min(shards, len(train)), shuffle),
        Part(_VAL, val, min(-(-shards // 8), len(val)), None),
    )
    if format == "folder":
        _link(parts, source, out, progress)
    else:
        _pack(parts, classes, format, source, out, progress)


def _classes(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; --src needs {NEEDS}")
    return [os.fsdecode(name) for name in folders_in(os.fsencode(folder))]


def _images(folder: Path) -> list[Path]:
    return [Path(os.fsdecode(path)) for path in images_in(os.fsencode(folder))]


def _sources(folder: Path, classes: Sequence[str]) -> list[Source]:
    found = Classes.of(folder)
    wrong = found.unseen()
    if found.empty:
        wrong.append(
            f"{folder}: every class needs an image, and {len(found.empty)} hold none:"
            f" {names(found.empty)}; complete the set, or remove what is empty"
        )
    if wrong:
        raise DataError("\n".join(wrong))
    if not found.images:
        raise DataError(f"{folder} has no class folders; --src needs {NEEDS}")
    label_of = {os.fsencode(name): label for label, name in enumerate(classes)}
    return [
        Source(path, label_of[name], f"{os.fsdecode(name)}/{path.name}")
        for name, paths in found.images.items()
        for path in map(Path, map(os.fsdecode, paths))
    ]


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
    return _sources(folder, classes)


def _sorted_by(labels: Path, folder: Path, classes: Sequence[str]) -> list[Source]:
    try:
        classes_of = without_mark(labels.read_bytes(), labels).decode().split()
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


def _link(parts: Sequence[Part], source: Path, out: Path, progress: Progress) -> None:
    counts = {part.name: len(part.sources) for part in parts}
    _refuse_other(out, {"format": "folder", "counts": counts})
    if (out / MANIFEST).is_file():
        return
    done = 0
    with whole_folder(out) as folder:
        for part in parts:
            for one in part.sources:
                path = folder / part.name / one.name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(one.path.resolve(), path)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(one.path, path)
                done += 1
                progress(done, sum(counts.values()))
        write_manifest(folder, str(source), counts)


def _pack(
    parts: Sequence[Part],
    classes: Sequence[str],
    kind: str,
    source: Path,
    out: Path,
    progress: Progress,
) -> None:
    counts = {part.name: len(part.sources) for part in parts}
    plan = {
        "format": kind,
        "counts": counts,
        "shards": {part.name: part.shards for part in parts},
        "seed": parts[0].seed,
        "listing": _fingerprint(parts),
    }
    _refuse_other(out, plan)
    if (out / MANIFEST).is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    (out / PLAN).write_text(json.dumps(plan))
    done = 0

    def packed(count: int) -> None:
        nonlocal done
        done += count
        progress(done, sum(counts.values()))

    files: dict[str, Any] = {}
    for part in parts:
        files |= write_part(part, kind, out / part.name, packed)
    manifest = {"source": str(source), **plan, "classes": list(classes), "files": files}
    (out / PLAN).write_text(json.dumps(manifest, indent=1) + "\n")
    (out / PLAN).rename(out / MANIFEST)


def _refuse_other(out: Path, plan: dict[str, Any]) -> None:
    """Go on only with what this plan began, or in an empty place.

    Raises:
        DataError: Something else lies at `out`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    for name in (PLAN, MANIFEST):
        if (out / name).is_file():
            found = {"format": "folder"} | json.loads((out / name).read_bytes())
            if all(found.get(key) == value for key, value in plan.items()):
                return
    raise DataError(
        f"{out} exists and is not what was asked for: another set, other options, or not made by"
        " ttt; remove it, or type --out DIR"
    )


def _fingerprint(parts: Sequence[Part]) -> str:
    """What tells two lists of images apart without reading them: names, classes and sizes."""
    whole = hashlib.sha256()
    for part in parts:
        for one in part.sources:
            line = f"{part.name}\0{one.name}\0{one.label}\0{one.path.stat().st_size}\n"
            whole.update(os.fsencode(line))
    return whole.hexdigest()
