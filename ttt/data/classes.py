"""Checks that folders of images by class are the configured set; a sentence for each fault.

Knows names, not files' contents: no torch, and it opens no file.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttt.data.listing import Classes, folders_in, names
from ttt.errors import fault

_MANY = 20  # names of classes in a sentence


def look(
    images: Any, key: str, samples_key: str, classes: int | None
) -> tuple[Classes | None, list[str]]:
    """The images of a part, None if there is none, and a sentence for each thing wrong with them.

    Args:
        images: Where, and how many: an `ImageSet`, or the settings of one. A count that is None is
            to be counted.
        key: The setting that names the part.
        samples_key: And the one that counts its images.
        classes: Class folders there must be; None if that is not asked.
    """
    root = Path(images.root)
    folder = root / getattr(images, key)
    if not root.is_dir():
        why = "is no folder: prepare the data set with `ttt data`"
        return None, [fault("data.root", images.root, why, typed="DIR")]
    if not folder.is_dir():
        there = names(folders_in(os.fsencode(root)), _MANY) or "no folder"
        return None, [
            f"{folder} is no folder: data.root must hold one folder of classes for training and "
            f"one for evaluation, and it holds {there}; type data.{key}=NAME if it has another name"
        ]
    try:
        found = Classes.of(folder)
    except OSError as error:
        return None, [f"{error.filename!s} cannot be listed: {error.strerror}; data.root=DIR"]
    counts = {samples_key: (getattr(images, samples_key), found.count)}
    if classes is not None:
        counts["classes"] = (classes, len(found.images))
    counts = {name: pair for name, pair in counts.items() if pair[0] not in (None, pair[1])}
    wrong = found.unseen()
    if found.empty or (counts and not wrong):
        wrong.append(_miscounted(folder, found, counts))
    elif not found.images and not wrong:
        wrong.append(f"{folder} holds no class folder with an image; type data.root=DIR")
    return found, wrong


def undivided(images: Any) -> str | None:
    """A sentence if class folders lie right in the root, where training and evaluation should."""
    root = Path(images.root)
    parts = (images.train_dir, images.eval_dir)
    if not root.is_dir() or any((root / part).is_dir() for part in parts):
        return None
    try:
        found = Classes.of(root)
    except OSError:
        return None
    if not found.images:
        return None
    why = (
        f"holds class folders itself ({names(list(found.images), _MANY)}), and neither {parts[0]}"
        f" nor {parts[1]} with such folders in them"
    )
    above = root.absolute().parent
    if root.absolute().name in parts and all((above / part).is_dir() for part in parts):
        return fault("data.root", root, why, typed=f"data.root={shlex.quote(str(above))}")
    command = f"ttt data images --src {shlex.quote(str(root))} --out DIR"
    return fault("data.root", root, f"{why}; split it: {command}")


def differing(images: Any) -> list[str]:
    """A sentence if training and evaluation differ in classes: labels would differ in meaning."""
    train, held_out = (Path(images.root) / part for part in (images.train_dir, images.eval_dir))
    if not train.is_dir():
        return [f"{train} is no folder, and its classes are those of {held_out}; data.root=DIR"]
    known, found = (set(folders_in(os.fsencode(folder))) for folder in (train, held_out))
    sides = {images.train_dir: sorted(known - found), images.eval_dir: sorted(found - known)}
    odd_ones = [f"only in {part}: {names(odd, _MANY)}" for part, odd in sides.items() if odd]
    if not odd_ones:
        return []
    return [
        f"{held_out} has {len(found)} class folders and {images.train_dir} beside it has "
        f"{len(known)} ({'; '.join(odd_ones)}), and both must have the same; add, rename or remove"
        " class folders"
    ]


def _miscounted(folder: Path, found: Classes, counts: Mapping[str, tuple[int, int]]) -> str:
    """One sentence on how many images and classes there are and should be."""
    asked = " and ".join(f"data.{name}={pair[0]}" for name, pair in counts.items())
    typed = " ".join(f"data.{name}={pair[1]}" for name, pair in counts.items())
    text = f"{folder} holds {found.count} images in {len(found.images)} class folders"
    if "classes" in counts:
        text += f" ({names(list(found.images), _MANY)})"
    text += f", but {asked}" if counts else ""
    if found.empty:
        plural = "s hold" if len(found.empty) > 1 else " holds"
        text += f"; {len(found.empty)} class folder{plural} no image: {names(found.empty, _MANY)}"
    remove = "remove what is empty" if found.empty else ""
    rest = " and ".join(todo for todo in (remove, typed and f"type {typed}") if todo)
    return f"{text}; complete the set, or {rest}"
