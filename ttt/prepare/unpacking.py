"""Opens files packed by gzip, bzip2 or xz, and tar and zip archives, with limits to their content.

ttt does not believe the sizes that a file states: it counts the unpacked bytes, and refuses them if
they are many times more than a real file has. The caller decides which files it wants.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from ttt.data import bounds
from ttt.errors import DataError

# What reading a damaged, unsafe or locked file raises in these libraries.
UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    ValueError,  # of tarfile and zipfile: a number or a name that is none
    LookupError,
    OverflowError,
    RuntimeError,  # of zipfile: a password is needed; of tarfile: headers within headers
    NotImplementedError,  # and: packed in a way it does not know
)
_BEGINNINGS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"]\0\0": ".xz"}
_XZ_MEMORY = 1 << 28  # bytes; `xz -9` makes files that need 65 MB, and a header may ask for 4 GB
_CHUNK = 1 << 16
_HEADERS = 1 << 20  # bytes of what comes before one file of a tar archive: names and attributes
_DIRECTORY = 1 << 28  # bytes of the directory of a zip archive; ImageNet's would have 136 MB
_ENTRY = 30  # bytes at least before each file in a zip archive
_ZIPPED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # xz has no memory limit


class Bounded(io.RawIOBase):
    """The bytes of a file, unpacked, and no more than are reasonable.

    Args:
        file: Gives them.
        path: Where they are from, for people.
        packed: Whether `file` unpacks; it is then read from the beginning to the end only.

    Attributes:
        last: What was read last.
    """

    def __init__(self, file: BinaryIO, path: Path, *, packed: bool) -> None:
        self._file, self._path, self._packed = file, path, packed
        self._at = 0
        self.last = b""
        self._left: int | None = None
        size = path.stat().st_size
        self._most = max(bounds.GROWN, bounds.RATIO * size) if packed else size

    def allow(self, size: int | None) -> None:
        """Let so many more bytes be read; None: as many as are reasonable in all."""
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """The next bytes; all that are left where no number is given."""
        if size < 0:
            size = max(0, self._most - self._at) + 1
        if self._left is not None:
            if size > self._left:
                raise DataError(
                    f"{self._path} has a header of {size:,} bytes or more; allowed:"
                    f" {self._left:,}. It is damaged, or made to do harm"
                )
            self._left -= size
        self.last = found = self._file.read(size)
        self._move(len(found))
        return found

    def readinto(self, buffer: Any) -> int:
        """The next bytes, to a buffer."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a byte; forwards only in what is unpacked."""
        if not self._packed:
            self._at = self._file.seek(offset, whence)
            return self._at
        offset += self._at if whence == os.SEEK_CUR else 0
        if whence == os.SEEK_END or offset < self._at:
            raise io.UnsupportedOperation("what is unpacked is read once, from its beginning")
        while self._at < offset:
            skipped = self._file.read(min(_CHUNK, offset - self._at))
            if not skipped:
                break
            self._move(len(skipped))
        return self._at

    def tell(self) -> int:
        """Where the next byte is from."""
        return self._at

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, forwards."""
        return True

    def _move(self, size: int) -> None:
        self._at += size
        if self._packed and self._at > self._most:
            raise DataError(
                f"{self._path} has {self._path.stat().st_size:,} bytes and becomes more than"
                f" {self._most:,}; allowed: {bounds.RATIO} times as many, or {bounds.GROWN:,}. If"
                " you know that it is right, unpack it yourself and name what comes out"
            )


class _Xz(io.RawIOBase):
    """What `lzma.open` gives, with a limit of memory: one or several streams, as `cat` makes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._stream = self._begin()

    def _begin(self) -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            packed = b""
            if self._stream.eof:
                packed = (self._stream.unused_data or self._file.read(_CHUNK)).lstrip(b"\0")
                if not packed and not (packed := self._file.read(_CHUNK).lstrip(b"\0")):
                    return 0
                self._stream = self._begin()
            elif self._stream.needs_input and not (packed := self._file.read(_CHUNK)):
                raise EOFError("it ends before its end was marked")
            found = self._stream.decompress(packed, len(buffer))
            if found:
                buffer[: len(found)] = found
                return len(found)


_UNPACK: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lambda file: io.BufferedReader(_Xz(file)),
}


@contextmanager
def opened(path: Path, suffix: str | None = None) -> Iterator[tuple[Bounded, BinaryIO]]:
    """A regular file, unpacked if it is packed.

    Args:
        path: The file.
        suffix: ".gz", ".bz2" or ".xz", how it is packed, or another for not at all; None: as its
            first bytes have it.

    Yields:
        What is in it, and the file as it lies on disk, which says how far it is.

    Raises:
        DataError: It is no regular file, or becomes too large.
    """
    with bounds.opened(path) as raw:
        if suffix is None:
            head = os.pread(raw.fileno(), 8, 0)
            suffix = next((s for begin, s in _BEGINNINGS.items() if head.startswith(begin)), "")
        unpack = _UNPACK.get(suffix)
        file = unpack(raw) if unpack else raw
        with file, Bounded(file, path, packed=unpack is not None) as content:
            yield content, raw


def lines(content: Bounded, path: Path) -> Iterator[bytes]:
    r"""What is in a file, cut after each "\n".

    Raises:
        DataError: A line does not end.
    """
    yield from bounds.lines(io.BufferedReader(content, _CHUNK), path)


@contextmanager
def tar_headers(path: Path) -> Iterator[tuple[tarfile.TarFile, Iterator[tarfile.TarInfo]]]:
    """A tar archive, packed or not, and its members; each is read before the next is asked for.

    Raises:
        ReadError: It is none, or does not end as one does.
        DataError: Its headers or what it becomes are too large.
    """
    with opened(path) as (content, _):
        content.allow(_HEADERS)
        try:
            archive = tarfile.TarFile(fileobj=content)
        except (*UNREADABLE, tarfile.ReadError) as error:
            raise tarfile.ReadError("it is no tar or zip file, or damaged") from error

        def members() -> Iterator[tarfile.TarInfo]:
            while (member := archive.next()) is not None:
                content.allow(max(member.size, 0) + _CHUNK)
                yield member
                vars(archive)["members"].clear()  # tarfile keeps them all
                content.allow(_HEADERS)
            if content.last.strip(b"\0"):  # where tarfile, too, would say that this is the end
                raise tarfile.ReadError(f"at byte {content.tell()} is no header of a file")

        with archive:
            yield archive, members()


@contextmanager
def zip_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose files lie one after the other.

    Raises:
        BadZipFile: It is damaged.
        DataError: Its directory is too large, or files lie within each other.
    """
    with opened(path, suffix="") as (content, _):
        content.allow(_DIRECTORY)
        with zipfile.ZipFile(cast(Any, content)) as archive:
            content.allow(None)
            ends, last = 0, ""
            for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
                if info.header_offset < ends:
                    raise DataError(
                        f"{path}: {info.filename} lies within {last}, as in archives made to do"
                        " harm; pack the files again"
                    )
                ends, last = info.header_offset + _ENTRY + info.compress_size, info.filename
            yield archive


def in_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    """A file of a zip archive.

    Raises:
        NotImplementedError: It is packed in a way that has no limits.
    """
    if info.compress_type not in _ZIPPED:
        raise NotImplementedError(
            f"{info.filename} is packed by method {info.compress_type}; allowed: 0, 8 and 12,"
            " which are stored, deflate and bzip2"
        )
    return cast(BinaryIO, archive.open(info))
