"""Decides by name alone what is an image, a class or a shard: one answer for all who list files.

File systems hold more than was put there: macOS leaves `._NAME` and `.DS_Store` beside files (and
`__MACOSX` in archives), Windows `Thumbs.db` and `desktop.ini`. None of it is part of a data set.
Names are bytes, as the file system has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ttt.data import bounds
from ttt.errors import DataError

# What DALI's decoder reads (fn.decoders.image), by file name.
SUFFIXES = (b".jpg", b".jpeg", b".png", b".bmp", b".webp", b".ppm", b".pgm", b".tif", b".tiff")
_LITTER = frozenset({b"__macosx", b"thumbs.db", b"desktop.ini"})


def is_litter(name: bytes) -> bool:
    """Whether a file or folder of this name is none of a data set's: hidden, or a system's own."""
    return name.startswith(b".") or name.lower() in _LITTER


def is_image(entry: os.DirEntry[bytes]) -> bool:
    """Whether this is an image by its name; a link that leads nowhere is one that is missing."""
    name = entry.name
    return name.lower().endswith(SUFFIXES) and not is_litter(name) and not entry.is_dir()


def images_in(folder: bytes) -> list[bytes]:
    """The paths of the images right in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if is_image(entry))


def folders_in(folder: bytes) -> list[bytes]:
    """The names of the folders in a folder, sorted."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not is_litter(e.name) and e.is_dir())


def walk(folder: bytes) -> Iterator[tuple[bytes, list[bytes], list[bytes]]]:
    """As os.walk: a folder, the names of folders in it and of all else, sorted; then those folders.

    Links to folders are not followed. The caller may remove folders, which are then left out.

    Raises:
        DataError: Folders lie in folders deeper than in any data set.
    """
    left = [(folder, 0)]
    while left:
        inside, depth = left.pop()
        if depth > bounds.DEPTH:
            raise DataError(
                f"{_shown(folder)} holds folders within folders, {depth} deep; allowed:"
                f" {bounds.DEPTH}"
            )
        folders: list[bytes] = []
        others: list[bytes] = []
        try:
            with os.scandir(inside) as entries:
                for entry in entries:
                    (folders if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
        except OSError:  # as os.walk has it: what cannot be listed is left out
            continue
        folders.sort()
        yield inside, folders, sorted(others)
        left += [(os.path.join(inside, name), depth + 1) for name in reversed(folders)]


@dataclass(slots=True)
class Classes:
    """The images of one part of a set, by class.

    Attributes:
        folder: Where they lie.
        images: Paths of the images of each class folder that has any, in sorted order.
        empty: Class folders without an image.
        loose: Images beside the class folders.
        nested: Images in folders within class folders.
    """

    folder: bytes
    images: dict[bytes, list[bytes]] = field(default_factory=dict)
    empty: list[bytes] = field(default_factory=list)
    loose: list[bytes] = field(default_factory=list)
    nested: list[bytes] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path) -> Classes:
        """List a folder of class folders.

        Raises:
            OSError: It cannot be listed.
        """
        found = cls(os.fsencode(folder))
        found.loose = images_in(found.folder)
        for name in folders_in(found.folder):
            found._take(name)
        return found

    def _take(self, name: bytes) -> None:
        inside = os.path.join(self.folder, name)
        images, below = [], []
        with os.scandir(inside) as entries:  # once: a class of ImageNet has 1,300
            for entry in entries:
                if is_image(entry):
                    images.append(entry.path)
                elif entry.is_dir() and not is_litter(entry.name):
                    below.append(entry.path)
        deeper = [path for each in sorted(below) for path in _below(each)]
        self.nested += deeper
        if images:
            self.images[name] = sorted(images)
        elif not deeper:
            self.empty.append(name)

    def paths(self) -> list[bytes]:
        """All images in class folders."""
        return [path for images in self.images.values() for path in images]

    @property
    def count(self) -> int:
        """Images in class folders."""
        return sum(map(len, self.images.values()))

    def unseen(self) -> list[str]:
        """A sentence each for images that no class folder holds.

        They are refused, not read: whether a folder in a class is a part of it or a class of its
        own is not known, and a guess would be a wrong label.
        """
        wrong = []
        if self.nested:
            wrong.append(
                f"{_shown(self.folder)} holds {_images(len(self.nested))} in folders within class"
                f" folders, as {_shown(os.path.relpath(self.nested[0], self.folder))}, whose class"
                " is not clear; move each image right into the folder of its class"
            )
        if self.loose:
            wrong.append(
                f"{_shown(self.folder)} holds {_images(len(self.loose))} outside of class folders,"
                f" as {_shown(os.path.basename(self.loose[0]))}; move each image into the folder of"
                " its class"
            )
        return wrong


def _below(folder: bytes) -> list[bytes]:
    """The images in a folder and in all folders in it; links to folders are not followed."""
    found = []
    for inside, folders, files in walk(folder):
        folders[:] = [name for name in folders if not is_litter(name)]
        wanted = (name for name in files if name.lower().endswith(SUFFIXES))
        found += [os.path.join(inside, name) for name in wanted if not is_litter(name)]
    return found


def names(given: Sequence[bytes], most: int = 5) -> str:
    """Some names for people, the first few of many."""
    shown = ", ".join(_shown(name) for name in given[:most])
    return shown + (", ..." if len(given) > most else "")


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


def _shown(name: bytes) -> str:
    return os.fsdecode(name)
