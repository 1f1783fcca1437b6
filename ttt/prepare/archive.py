"""An archive of images in class folders, unpacked whole; shared by the sets that come so."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_complete, whole_folder, write_manifest


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive must hold.

    Attributes:
        title: What people call the set.
        needs: Which file it is.
        counts: Images in each part, the parts being its top folders.
        classes: Folders in each part, sorted.
    """

    title: str
    needs: str
    counts: Mapping[str, int]
    classes: Sequence[str]


def unpack(archive: Archive, out: Path, sources: Sequence[Path], progress: Progress) -> None:
    """Unpack to `out`/<part>/<class>/; nothing if it is there.

    Args:
        archive: What is expected.
        out: The folder that becomes `data.root`.
        sources: The one file.
        progress: Called with (files unpacked, files in all).

    Raises:
        DataError: The archive is absent, damaged, unsafe or another one, or something else lies
            at `out`.
    """
    if is_complete(out, archive.counts):
        return
    if len(sources) != 1 or not sources[0].is_file():
        given = " ".join(map(str, sources)) or "nothing"
        raise DataError(f"--src is {given}; allowed: one file, {archive.needs}; --src FILE")
    [source] = sources
    with whole_folder(out) as folder:
        try:
            _extract(source, folder, sum(archive.counts.values()), progress)
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise DataError(f"{source} cannot be unpacked: {error}") from error
        for part in archive.counts:
            found = tuple(sorted(path.name for path in (folder / part).glob("*")))
            if found != tuple(archive.classes):
                raise DataError(
                    f"{source} has the classes {', '.join(found) or 'none'} in {part}; "
                    f"{archive.title} has {', '.join(archive.classes)}"
                )
        write_manifest(folder, source.name, archive.counts)


def _extract(archive: Path, folder: Path, total: int, progress: Progress) -> None:
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
            progress(done, total)
