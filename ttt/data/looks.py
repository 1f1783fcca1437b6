"""Finds faults of a set of images before a run, and counts what the settings leave open.

`ttt run` calls `faults`, and `examined` with `quick`; `ttt doctor` calls both in full.
Each kind of data set has a module with these functions, which its schema names (`looks`). No torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ttt.data import classes, heads, indexes
from ttt.data.examined import Examined
from ttt.data.formats import Labelled
from ttt.data.listing import Classes
from ttt.data.manifest import MANIFEST, content
from ttt.errors import DataError

SETTINGS = (  # that decide what is found here
    *("root", "format", "first_label", "train_dir", "eval_dir"),
    *("train_samples", "eval_samples", "classes", "on_error"),
)
_QUICK = 100_000  # image files that are opened before a run
_PARTS = (("train_dir", "train_samples"), ("eval_dir", "eval_samples"))
_ADVICE = "replace or remove {}, or type data.on_error=skip to go on without {} and count {}"


def faults(data: Any) -> list[str]:
    """All that is wrong with a set, by its names, counts and indexes.

    Args:
        data: An `ImageSet`, or the settings of one. Counts that are None are to be counted.
    """
    if data.format != "folder":
        parts = [indexes.open_part(data, *keys) for keys in _PARTS]
        return list(dict.fromkeys(sentence for part in parts for sentence in part.wrong))
    if sentence := classes.undivided(data):
        return [sentence]
    train, wrong = classes.look(data, *_PARTS[0], data.classes)
    held_out, also = classes.look(data, *_PARTS[1], None)
    different = classes.differing(data) if train and held_out else []
    return list(dict.fromkeys(wrong + also + different))


def counts(data: Any) -> dict[str, int]:
    """The train_samples, eval_samples and classes that the set itself gives.

    Args:
        data: The settings of an `ImageSet`.

    Raises:
        DataError: It cannot be counted.
    """
    found = {}
    if data.format != "folder":
        for key, samples in _PARTS:
            part = indexes.open_part(data, key)
            if part.wrong:
                raise DataError(*part.wrong)
            found[samples] = part.count
        return found | _classes_said(Path(data.root))
    for key, samples in _PARTS:
        images, wrong = classes.look(data, key, samples, None)
        if images is None:
            raise DataError(*wrong)
        found[samples] = images.count
        found.setdefault("classes", len(images.images))  # those of training
    return found


def examined(data: Any, part: int = 0, parts: int = 1, *, quick: bool = False) -> Examined | None:
    """Open the files and look for what no decoder will take.

    Args:
        data: The settings of an `ImageSet`.
        part: Which part of the files this process looks at.
        parts: Of how many.
        quick: Leave out what takes longer than a few seconds, and what a run would skip.

    Returns:
        None if nothing was read.
    """
    skips = quick and data.on_error == "skip"
    if data.format != "folder":
        opened = [indexes.open_part(data, key) for key, _ in _PARTS]
        files = [pair for one in opened for pair in zip(one.files, one.indexes, strict=True)]
        return _ends_of(data, files[part::parts], skips=skips)
    if skips or (quick and (data.train_samples or 0) + (data.eval_samples or 0) > _QUICK):
        return None
    paths = list(_paths(data))[part::parts]
    bad = [(os.fsdecode(path), why) for path, why in heads.unreadable(paths)]
    return Examined(len(paths), "image files", _ADVICE, bad)


def _paths(data: Any) -> Iterator[bytes]:
    for key, _ in _PARTS:
        folder = Path(data.root) / getattr(data, key)
        if folder.is_dir():
            for images in Classes.of(folder).images.values():
                yield from images


def _classes_said(root: Path) -> dict[str, int]:
    """How many classes the manifest of shards names; records have numbers only."""
    classes = content(root / MANIFEST).get("classes") if (root / MANIFEST).is_file() else None
    return {"classes": len(classes)} if isinstance(classes, list) else {}


def _ends_of(data: Any, files: Sequence[tuple[Path, indexes.Index]], *, skips: bool) -> Examined:
    """Take the first and the last record of each shard apart."""
    look = partial(_records, data.format)
    with ThreadPoolExecutor(heads.THREADS, "shards") as readers:
        records = [record for some in readers.map(look, files) for record in some]
    bad = [(name, taken) for name, taken in records if isinstance(taken, str)]
    first, most = indexes.first_label_of(data), data.classes
    odd = [
        indexes.out_of_range(name, taken, first, most)
        for name, taken in records
        if most and isinstance(taken, int) and not 0 <= taken - first < most
    ]
    return Examined(len(records), "records", _ADVICE, [] if skips else bad, odd[:1])


def _records(kind: str, shard: tuple[Path, indexes.Index]) -> list[tuple[str, str | int]]:
    """Of the records at both ends: the name, and the class or why there is none."""
    file, index = shard
    found: list[tuple[str, str | int]] = []
    for at, taken in indexes.ends(file, index, kind):
        label = (_unreadable(taken) or taken.label) if isinstance(taken, Labelled) else taken
        found.append((indexes.record_name(file, at), label))
    return found


def _unreadable(taken: Labelled) -> str | None:
    image = bytes(taken.image)
    return heads.verdict(image, image, len(image), lambda _: image)
