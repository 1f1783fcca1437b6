"""Images of your own in class folders, from a folder or an archive.

--src is a folder, or a tar or zip file. It holds <class>/<image>, and ttt holds out a share of each
class to evaluate on; or it holds train/<class>/<image> and test/, val/ or the like beside it.
It may have one top folder around all. ttt links the files if it can, and never changes them.
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ttt.data import bounds
from ttt.data.listing import SUFFIXES, Classes, folders_in, is_litter, names, walk
from ttt.errors import ConfigError, DataError, counted
from ttt.prepare import packing, pixels, split
from ttt.prepare.archive import unpacked
from ttt.prepare.folder import Progress, silent
from ttt.prepare.shards import Source

NEEDS = "a folder, tar or zip file with <class>/<image>, or train/<class>/ and test/<class>/"
BENCHMARK = None  # none of ttt's: `ttt new` writes one
TRAIN, EVAL = "train", "test"  # as `ttt.data.images` names them
_TRAIN_NAMES = ("train", "training")
_EVAL_NAMES = ("test", "testing", "val", "valid", "validation", "eval", "evaluation")
# What people take for images and no loader reads.
_OTHERS = (b".gif", b".heic", b".heif", b".avif", b".svg", b".jp2", b".psd", b".dng", b".nef")
_MANY = 20  # images or classes in one sentence

Parts = dict[str, list[Source]]


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this set asks for."""
    packing.options(parser, "folder", "one for 1250 images")
    split.options(parser)
    parser.add_argument(
        "--eval",
        dest="evaluation",
        metavar="NAME",
        help="the folder to evaluate on, where there are several beside train/",
    )


def prepare(
    out: Path,
    sources: Sequence[Path] = (),
    progress: Progress = silent,
    *,
    format: str = "folder",
    shards: int | None = None,
    eval_share: float = 0.2,
    seed: int = 0,
    evaluation: str | None = None,
) -> list[str]:
    """Write `out`/train and `out`/test; nothing if they are there.

    Args:
        out: The folder that becomes `data.root`.
        sources: The one folder or archive.
        progress: Called with (images done, images in all).
        format: "folder", "tfrecord", "webdataset" or "recordio".
        shards: Files for training, the evaluation gets an eighth of that; None: one for 1,250
            images, in "recordio" a single one.
        eval_share: Share of each class that is held out, where there is no evaluation part.
        seed: Of that choice, and of the order of training images in shards.
        evaluation: Name of the evaluation part; None: the one there is.

    Returns:
        What people should know of the set.

    Raises:
        ConfigError: The folders are no set, or images cannot be read.
        DataError: Something else lies at `out`, or the archive is damaged or unsafe.
        MissingExtra: Pillow is not installed.
    """
    wrong = split.problems(eval_share, seed) + packing.ignored(format, shards)
    if len(sources) != 1:
        wrong.append(f"--src names {len(sources)} places; allowed: one, {NEEDS}; --src FOLDER")
    if wrong:
        raise ConfigError(wrong)
    [source] = sources
    packing.refuse_other(out, {"format": format})  # before hours of reading
    with unpacked(source, out, SUFFIXES + _OTHERS) as folder:
        top = _top(folder)
        found, wrong = _look(top, evaluation)
        paths = [Path(os.fsdecode(path)) for one in found for path in one.paths()]
        wrong += pixels.unreadable(paths)
        if wrong:  # where an archive was unpacked to says nothing
            raise ConfigError([problem.replace(str(folder), str(source)) for problem in wrong])
        parts, remarks = _parts(found, eval_share, seed)
        about = {
            "source": source.name,
            "classes": [os.fsdecode(name) for name in found[0].images],
            "largest_class": _largest(parts[EVAL]),
            **pixels.measured(paths),
        }
        if shards is None:
            shards = 1 if format == "recordio" else max(1, round(len(parts[TRAIN]) / 1250))
        packing.write(out, parts, progress, kind=format, shards=shards, seed=seed, about=about)
        return [*remarks, *_remarks(about, parts), *_unread(top)]


def _top(folder: Path) -> Path:
    """The folder itself, or its only subfolder, because many archives have one around all."""
    for _ in range(bounds.DEPTH):  # a link may lead back
        inside = folders_in(os.fsencode(folder))
        if len(inside) != 1 or Classes.of(folder).images:
            return folder
        within = folder / os.fsdecode(inside[0])
        if not folders_in(os.fsencode(within)):
            return folder
        folder = within
    raise DataError(f"{folder}: folders lie within folders and hold no images; --src FOLDER")


def _look(folder: Path, evaluation: str | None) -> tuple[list[Classes], list[str]]:
    """The images of the one part or of both, and a sentence for each thing wrong with them."""
    inside = [os.fsdecode(name) for name in folders_in(os.fsencode(folder))]
    train = [name for name in inside if name.lower() in _TRAIN_NAMES]
    if not train:
        whole = Classes.of(folder)
        wrong = packing.faults(whole) or _too_few(whole, least=2)
        if evaluation is not None:
            wrong.append(f"--eval {evaluation} needs a folder train beside it; leave --eval out")
        return [whole], wrong
    held_out = [name for name in inside if name.lower() in _EVAL_NAMES and name not in train]
    if evaluation is not None:
        held_out = [name for name in inside if name == evaluation]
    if len(held_out) != 1:
        typed = f"--eval {held_out[0]}" if held_out else "--eval NAME, a folder beside it"
        what = f"no folder {evaluation}" if evaluation else f"{len(held_out)} to evaluate on"
        there = ", ".join(inside)
        return [], [f"{folder} holds {there}: {train[0]} to train on and {what}; type {typed}"]
    found = [Classes.of(folder / name) for name in (train[0], held_out[0])]
    wrong = [sentence for each in found for sentence in packing.faults(each)]
    known, other = (set(each.images) for each in found)
    if not wrong and known != other:
        wrong.append(
            f"{train[0]} has {len(known)} classes and {held_out[0]} has {len(other)}; both must"
            f" have the same, and these are in one only: {names(sorted(known ^ other), _MANY)}"
        )
    return found, wrong or _too_few(found[0], least=1)


def _parts(found: Sequence[Classes], share: float, seed: int) -> tuple[Parts, list[str]]:
    """The images of both parts, and a remark if the evaluation part was split off."""
    if len(found) == 2:
        train, held_out = map(packing.sources_of, found)
        return {TRAIN: train, EVAL: held_out}, []
    images = packing.sources_of(found[0])
    chosen = split.by_class(np.array([one.label for one in images]), share, seed)
    parts = {
        part: [one for one, taken in zip(images, places, strict=True) if taken]
        for part, places in ((TRAIN, ~chosen), (EVAL, chosen))
    }
    return parts, [
        f"held out for the evaluation: {len(parts[EVAL])} of {len(images)} images, "
        f"{share:g} of each class, drawn by --seed {seed}"
    ]


def _too_few(found: Classes, least: int) -> list[str]:
    """What is wrong with the numbers of classes and of images in them."""
    folder = os.fsdecode(found.folder)
    if len(found.images) < 2:
        there = f"has the one class folder {names([*found.images])}" if found.images else "has none"
        return [f"{folder} {there}; two classes are needed at least: {NEEDS}"]
    small = [name for name, images in found.images.items() if len(images) < least]
    if small:
        return [
            f"{folder}: a class needs {least} images, one to train on and one to evaluate on, and"
            f" {len(small)} have fewer: {names(small, _MANY)}"
        ]
    return []


def _largest(images: Sequence[Source]) -> float:
    """The share of the largest class: the quality of always naming this class."""
    return max(Counter(one.label for one in images).values()) / len(images)


def _remarks(about: dict[str, Any], parts: Parts) -> list[str]:
    classes, sizes = about["classes"], about["sizes"]
    least, middle, most = sizes["shorter"]
    sides = f"{least} pixels" if least == most else f"{least} to {most} pixels, median {middle}"
    return [
        f"{len(parts[TRAIN])} images to train on and {len(parts[EVAL])} to evaluate on, in"
        f" {len(classes)} classes; shorter sides: {sides}"
    ]


def _unread(folder: Path) -> list[str]:
    """A remark on files that people take for images and no loader reads."""
    found: Counter[bytes] = Counter()
    for _, folders, files in walk(os.fsencode(folder)):
        folders[:] = [name for name in folders if not is_litter(name)]
        endings = (os.path.splitext(name)[1].lower() for name in files if not is_litter(name))
        found.update(ending for ending in endings if ending in _OTHERS)
    return [
        f"left out: {counted(count, os.fsdecode(ending) + ' file')}, which the loaders do not read;"
        " convert to JPEG or PNG what is to be in"
        for ending, count in sorted(found.items())
    ]
