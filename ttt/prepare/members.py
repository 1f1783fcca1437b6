"""Reads the files of a tar or zip archive or of a folder, one after the other, and unpacks some.

A name may not leave the folder, links and devices are skipped, and there are limits for the number
of files, the bytes of one file and of all files. The caller decides which files it wants.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from ttt.data import bounds
from ttt.data.listing import walk
from ttt.errors import DataError
from ttt.prepare import room
from ttt.prepare.unpacking import in_zip, tar_headers, zip_archive

_CHUNK = 1 << 16
_LOOK = 1 << 26  # bytes written before it is asked again how much room there is
_CONTROL = re.compile("[\0-\x1f\x7f-\x9f]")
_UNKNOWN = "of an unknown kind"
_KINDS = {  # what a mode says of a file; empty for a regular one
    0: "",  # of an archive that says nothing, as zip files made on Windows
    stat.S_IFREG: "",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_TAR_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
}


class Member(NamedTuple):
    """One file of an archive.

    Attributes:
        name: Where it lies in there.
        size: Bytes it says it has.
        open: Gives what is in it; None if nothing is.
        other: What it is that is no file, as "a link"; empty for a file.
    """

    name: PurePosixPath
    size: int
    open: Callable[[], IO[bytes] | None]
    other: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold.

    Attributes:
        title: Whose limits these are, as in "above TITLE".
        remedy: What to do about an archive that goes beyond.
        files: Files of any kind.
        largest: Bytes of a file that is taken.
        total: Bytes of all of them.
        share: Why no more, where that is no property of the set.
    """

    title: str
    remedy: str
    files: int
    largest: int
    total: int
    share: str = ""

    @classmethod
    def of(cls, source: Path) -> Limits:
        """The limits for an archive of which ttt knows only the size."""
        total = max(bounds.GROWN, bounds.RATIO * source.stat().st_size)
        remedy = "if you know it to be right, unpack it yourself and type --src FOLDER"
        share = f"{bounds.RATIO} times its packed size, and at least {bounds.GROWN >> 20} MiB"
        return cls("any real set", remedy, bounds.FILES, bounds.IMAGE, total, share)


def members(source: Path) -> Iterator[Member]:
    """Every file of an archive of any kind; the caller reads each before the next one.

    Raises:
        DataError: It is a pipe or a device, or made to do harm.
    """
    if source.is_dir():
        return _of_folder(source)
    bounds.opened(source).close()
    return _of_zip(source) if zipfile.is_zipfile(source) else _of_tar(source)


class Taking:
    """What is taken out of one archive, within limits and in the room there is.

    Args:
        source: The archive, for people.
        folder: Where to.
        limits: How much there may be.
    """

    def __init__(self, source: Path, folder: Path, limits: Limits) -> None:
        self._source, self._folder, self._limits = source, folder, limits
        self._files = self._bytes = 0
        self._room = -1

    def parts(self, member: Member) -> list[bytes]:
        """The parts of a name that stays within the folder it is unpacked to.

        tarfile's own filter for that came with Python 3.11.4; Debian 12 has 3.11.2.

        Raises:
            TarError: It does not.
            DataError: There are more files than there may be.
        """
        self._files += 1
        if self._files > self._limits.files:
            raise DataError(
                f"{self._source} holds more than {self._limits.files:,} files, far above"
                f" {self._limits.title}; {self._limits.remedy}"
            )
        name = member.name
        if name.is_absolute() or ".." in name.parts:
            raise tarfile.TarError(
                f"the path {name} leaves the folder; allowed: paths without .. that do not begin"
                " with /"
            )
        if len(name.parts) > bounds.DEPTH:
            raise tarfile.TarError(
                f"the path {name} has {len(name.parts)} parts; allowed: {bounds.DEPTH}"
            )
        return [os.fsencode(part) for part in name.parts]

    def save(self, member: Member, parts: list[bytes]) -> None:
        """Write one file.

        Args:
            member: The file.
            parts: Those of its name in the new folder.

        Raises:
            TarError: It is no file, has no name that can be typed, or is there already.
            DataError: It is too large, or there is no room.
        """
        if _CONTROL.search(str(member.name)):
            raise tarfile.TarError(
                f"{member.name} has characters in its name that cannot be seen; allowed: names"
                " without control characters"
            )
        content = None if member.other else member.open()
        if content is None:
            what = member.other or _UNKNOWN
            raise tarfile.TarError(f"{member.name} is {what}; allowed: regular files and folders")
        path = self._folder.joinpath(*map(os.fsdecode, parts))
        with content:
            self._count(member)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = path.open("xb")
            except FileExistsError as error:
                raise tarfile.TarError(f"{member.name} is in it twice") from error
            with file:
                while block := content.read(_CHUNK):
                    file.write(block)
                if file.tell() != member.size:
                    raise tarfile.TarError(
                        f"{member.name} has {file.tell():,} bytes, and not {member.size:,}"
                    )

    def _count(self, member: Member) -> None:
        """Add the bytes that a file says it has; readers give no more than that."""
        limits = self._limits
        self._bytes += member.size
        wrong = None
        if member.size > limits.largest:
            wrong = (
                f"{member.name} has {member.size:,} bytes; allowed: {limits.largest:,}, far above"
                f" the images of {limits.title}"
            )
        elif self._bytes > limits.total:
            why = f": {limits.share}" if limits.share else f", far above {limits.title}"
            wrong = f"its images have {self._bytes:,} bytes or more; allowed: {limits.total:,}{why}"
        if wrong:
            raise DataError(f"{self._source}: {wrong}; {limits.remedy}")
        if self._room < member.size:
            self._room = min(room.free(self._folder), max(_LOOK, member.size))
            room.need(self._folder, member.size)
        self._room -= member.size


def _of_folder(source: Path) -> Iterator[Member]:
    top = os.path.realpath(source)
    for inside, _, files in walk(os.fsencode(source)):
        for name in files:
            path = Path(os.fsdecode(os.path.join(inside, name)))
            there = path.exists()  # else a link that leads nowhere
            other = (
                _KINDS.get(stat.S_IFMT(path.stat().st_mode), _UNKNOWN) if there else "a broken link"
            )
            if there and path.is_symlink() and not path.resolve().is_relative_to(top):
                other = "a link out of the folder"
            size = path.stat().st_size if there else 0
            where = PurePosixPath(path.relative_to(source))
            yield Member(where, size, partial(bounds.opened, path), other)


def _of_zip(source: Path) -> Iterator[Member]:
    with zip_archive(source) as archive:
        for info in archive.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # of Unix; 0 where others packed it
            if not info.is_dir():
                name, other = PurePosixPath(info.filename), _KINDS.get(kind, _UNKNOWN)
                yield Member(name, info.file_size, partial(in_zip, archive, info), other)


def _of_tar(source: Path) -> Iterator[Member]:
    with tar_headers(source) as (archive, headers):
        for info in headers:
            if not info.isdir():
                other = _TAR_KINDS.get(info.type, "" if info.isfile() else _UNKNOWN)
                if info.issparse():  # it may say that it has a terabyte, and be right
                    other = "a sparse file, one with holes (tar without --sparse makes none)"
                content = partial(archive.extractfile, info)
                yield Member(PurePosixPath(info.name), info.size, content, other)
