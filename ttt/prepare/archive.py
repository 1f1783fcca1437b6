"""An archive of images in class folders, unpacked whole; shared by the sets that come so.

It may be a tar or zip file or a folder, and its parts may lie in one top folder, as in what GitHub
packs. Only images count: what systems add, a Mac's tar most of all, and notes are left out.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ttt.data.listing import SUFFIXES, folders_in, is_litter, names
from ttt.errors import DataError, fault
from ttt.prepare import room
from ttt.prepare.folder import Progress, is_complete, whole_folder, write_manifest
from ttt.prepare.members import Limits, Member, Taking, members
from ttt.prepare.unpacking import UNREADABLE


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive must hold.

    Attributes:
        title: What people call the set.
        needs: Which file it is.
        counts: Images in each part, the parts being its top folders.
        classes: Folders in each part, sorted.
        largest: Bytes that no image exceeds.
        total: And that all of them together do not.
    """

    title: str
    needs: str
    counts: Mapping[str, int]
    classes: Sequence[str]
    largest: int
    total: int

    def limits(self) -> Limits:
        """What may be in the archive; beside each image what a Mac adds, and some notes."""
        files = 4 * sum(self.counts.values()) + 10_000
        return Limits(self.title, "get the archive again", files, self.largest, self.total)


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
        with _readable(source):
            _extract(source, archive, folder, progress)
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
    taking = Taking(source, folder, archive.limits())
    tops: dict[bytes, None] = {}  # sets, in the order in which things were found
    others: dict[bytes, None] = {}
    for parts, member in _wanted(source, taking):
        at = next((i for i, part in enumerate(parts[:2]) if _text(part) in archive.counts), None)
        if at is None or not parts[-1].lower().endswith(SUFFIXES):
            others[parts[0]] = None
            continue
        taking.save(member, parts[at:])
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
        allowed = "a folder, a tar or a zip file"
        raise DataError(fault("--src", source, "is not there", allowed=allowed))
    beside.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside.parent, prefix=f".{beside.name}.") as name:
        folder = Path(name)
        taking = Taking(source, folder, Limits.of(source))
        with room.reporting_full(beside), _readable(source):
            for parts, member in _wanted(source, taking):
                if parts[-1].lower().endswith(suffixes):
                    taking.save(member, parts)
        yield folder


@contextmanager
def _readable(source: Path) -> Iterator[None]:
    """Within it, an error of reading an archive says that the archive is damaged."""
    try:
        yield
    except io.UnsupportedOperation as error:
        raise DataError(f"{source} cannot be unpacked: it is damaged ({error})") from error
    except UNREADABLE as error:
        if room.is_full(error):
            raise
        raise DataError(f"{source} cannot be unpacked: {error}") from error


def _wanted(source: Path, taking: Taking) -> Iterator[tuple[list[bytes], Member]]:
    """Every file, by the parts of its name, without the files that systems leave.

    Raises:
        TarError: A name leads elsewhere.
        DataError: There are too many.
    """
    for member in members(source):
        parts = taking.parts(member)
        if parts and not any(map(is_litter, parts)):
            yield parts, member


def _text(name: bytes) -> str:
    return os.fsdecode(name)
