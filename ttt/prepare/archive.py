"""An archive of images in class folders, unpacked whole; shared by the sets that come so.

It may be a tar or zip file or a folder, and its parts may lie in one top folder, as in what GitHub
packs. Only images count: what systems add, a Mac's tar most of all, and notes are left out.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ttt.data.listing import SUFFIXES, folders_in, is_litter, names
from ttt.errors import DataError
from ttt.prepare.folder import Progress, is_complete, whole_folder, write_manifest

# What reading a damaged, unsafe or locked archive raises.
_UNPACKING = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,  # of zipfile: a password is needed
    NotImplementedError,  # and: packed in a way it does not know
)


class Member(NamedTuple):
    """One file of an archive.

    Attributes:
        name: Where it lies in there.
        open: Gives what is in it; None for what is no file, as a link.
    """

    name: PurePosixPath
    open: Callable[[], IO[bytes] | None]


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
    if len(sources) != 1 or not sources[0].exists():
        given = " ".join(map(str, sources)) or "nothing"
        raise DataError(
            f"--src is {given}; allowed: one file or folder, {archive.needs}; --src FILE"
        )
    [source] = sources
    with whole_folder(out) as folder:
        try:
            _extract(source, archive, folder, progress)
        except _UNPACKING as error:
            raise DataError(f"{source} cannot be unpacked: {error}") from error
        for part in archive.counts:
            inside = os.fsencode(folder / part)
            found = tuple(map(os.fsdecode, folders_in(inside) if os.path.isdir(inside) else ()))
            if found != tuple(archive.classes):
                raise DataError(
                    f"{source} has the classes {', '.join(found) or 'none'} in {part}; "
                    f"{archive.title} has {', '.join(archive.classes)}"
                )
        write_manifest(folder, source.name, archive.counts)


def _extract(source: Path, archive: Archive, folder: Path, progress: Progress) -> None:
    """Write the images of each part, without the top folder they may lie in.

    Raises:
        DataError: There are none, or they lie in several top folders.
    """
    done, total = 0, sum(archive.counts.values())
    tops: dict[bytes, None] = {}  # sets, in the order in which things were found
    others: dict[bytes, None] = {}
    for parts, member in _safe_members(source):
        at = next((i for i, part in enumerate(parts[:2]) if _text(part) in archive.counts), None)
        if at is None or not parts[-1].lower().endswith(SUFFIXES):
            others[parts[0]] = None
            continue
        _save(member, folder.joinpath(*map(_text, parts[at:])))
        tops[b"/".join(parts[:at])] = None
        done += 1
        progress(done, total)
    if len(tops) != 1:
        wanted = " and ".join(f"{part}/<class>/<image>" for part in archive.counts)
        raise DataError(
            f"{source} is not {archive.title}: looked for {wanted}, at its top or in one folder;"
            f" there is {names([*tops, *others]) or 'nothing'}; allowed: {archive.needs}"
        )


@contextmanager
def unpacked(source: Path, beside: Path, suffixes: tuple[bytes, ...]) -> Iterator[Path]:
    """A folder as it is; an archive as a folder that is there for the time being.

    Args:
        source: The folder, or a tar or zip file.
        beside: What is unpacked lies beside this, on the same file system.
        suffixes: Of the files that are wanted, in lower case.

    Raises:
        DataError: It is neither, damaged or unsafe.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise DataError(f"--src {source} is not there; allowed: a folder, a tar or a zip file")
    beside.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside.parent, prefix=f".{beside.name}.") as name:
        folder = Path(name)
        try:
            for parts, member in _safe_members(source):
                if parts[-1].lower().endswith(suffixes):
                    _save(member, folder.joinpath(*map(_text, parts)))
        except _UNPACKING as error:
            raise DataError(f"{source} cannot be unpacked: {error}") from error
        yield folder


def _safe_members(source: Path) -> Iterator[tuple[list[bytes], Member]]:
    """Every file that no system left there, by the parts of its name.

    Raises:
        TarError: A name leads elsewhere.
    """
    for member in _members(source):
        parts = _safe(member.name)
        if parts and not any(map(is_litter, parts)):
            yield parts, member


def _save(member: Member, path: Path) -> None:
    content = member.open()
    if content is None:
        raise tarfile.TarError(f"{member.name} is no file of a data set")
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file)


def _safe(name: PurePosixPath) -> list[bytes]:
    """The parts of a name that stays within the folder it is unpacked to.

    tarfile's own filter for that came with Python 3.11.4; Debian 12 has 3.11.2.

    Raises:
        TarError: It does not.
    """
    if name.is_absolute() or ".." in name.parts:
        raise tarfile.TarError(f"{name} is no file of a data set")
    return [os.fsencode(part) for part in name.parts]


def _text(name: bytes) -> str:
    return os.fsdecode(name)


def _members(source: Path) -> Iterator[Member]:
    """Every file of an archive of any kind; the caller reads each before the next one."""
    if source.is_dir():
        return _of_folder(source)
    return _of_zip(source) if zipfile.is_zipfile(source) else _of_tar(source)


def _of_folder(source: Path) -> Iterator[Member]:
    for inside, _, files in os.walk(source):
        for name in sorted(files):
            path = Path(inside, name)
            yield Member(PurePosixPath(path.relative_to(source)), partial(io.FileIO, path))


def _of_zip(source: Path) -> Iterator[Member]:
    with zipfile.ZipFile(source) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # of Unix; 0 where others packed it
            if not info.is_dir():
                content = partial(archive.open, info) if kind in (0, stat.S_IFREG) else _nothing
                yield Member(PurePosixPath(info.filename), content)


def _of_tar(source: Path) -> Iterator[Member]:
    try:
        opened = tarfile.open(source)  # noqa: SIM115 - the next one closes it
    except tarfile.ReadError as error:  # which goes through all there are to it
        raise tarfile.ReadError("it is no tar or zip file, or damaged") from error
    with opened as archive:
        for info in archive:
            if not info.isdir():
                content = partial(archive.extractfile, info) if info.isfile() else _nothing
                yield Member(PurePosixPath(info.name), content)


def _nothing() -> None:
    """What is in a link or a device."""
