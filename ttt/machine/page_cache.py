"""The data set leaves the page cache of this node, with evidence that it did.

MLPerf wants a run to start with its data on durable storage, not in memory (MLCommons
training_rules.adoc). Counting resident pages before and after shows whether that is so.
"""

import ctypes
import mmap
import os
import time
from dataclasses import dataclass
from pathlib import Path

_DROP = Path("/proc/sys/vm/drop_caches")
_EXAMINED = 20_000  # files looked into for evidence; a larger set is sampled evenly
# A page stays while another process has it mapped, as one that counts pages like this one does.
_AGAIN_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.0)
_LEFT = 0.01  # share of the data that may stay, e.g. pages another program holds mapped


@dataclass(frozen=True, slots=True)
class Evidence:
    """What clearing did on one node.

    Attributes:
        host: The node.
        method: "drop_caches" or "fadvise"; None when neither was possible.
        before_bytes: Bytes of the data set in the page cache before.
        after_bytes: And after; of the same files.
        files: Number of files in the data set.
        examined: Number of files the bytes were counted in.
    """

    host: str
    method: str | None
    before_bytes: int
    after_bytes: int
    files: int
    examined: int

    @property
    def cleared(self) -> bool:
        """Whether there is data and it is out of memory, for all that can be seen."""
        allowed = max(mmap.PAGESIZE, _LEFT * self.before_bytes)
        return self.method is not None and self.files > 0 and self.after_bytes <= allowed


def clear(root: Path, method: str) -> Evidence:
    """Clear the page cache of everything below `root` on this node.

    Args:
        root: The data set's folder.
        method: "auto" and "fadvise" evict the data set's own pages and need only to read it.
            "drop_caches" needs root and evicts all pages of the machine, those of its other users
            too, so it is used only where a user names it.
    """
    files = [path for path in sorted(root.rglob("*")) if path.is_file()]
    examined = files[:: max(1, len(files) // _EXAMINED)]
    before = resident_bytes(examined)
    for seconds in _AGAIN_SECONDS:
        used = _clear(files, method)
        after = resident_bytes(examined)
        found = Evidence(os.uname().nodename, used, before, after, len(files), len(examined))
        if found.cleared or used is None or not files:
            break
        time.sleep(seconds)
    return found


def _clear(files: list[Path], method: str) -> str | None:
    """Clear once; the method that was possible."""
    if method == "drop_caches":
        return "drop_caches" if _drop_caches() else None
    _advise(files)
    return "fadvise"


def may_drop_caches() -> bool:
    """Whether this user may empty the whole page cache."""
    return os.access(_DROP, os.W_OK)


def _drop_caches() -> bool:
    os.sync()  # a page that is not written yet cannot leave
    try:
        _DROP.write_text("3\n")
    except OSError:
        return False
    return True


def _advise(files: list[Path]) -> None:
    for path in files:
        evict(path)


def evict(path: Path) -> None:
    """Ask the kernel to drop the pages of one file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)  # a page that is not written yet cannot leave
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t) + (ctypes.c_int,) * 3 + (ctypes.c_long,)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MAP_FAILED = ctypes.c_void_p(-1).value


def resident_bytes(files: list[Path]) -> int:
    """Bytes of these files that are in the page cache now, by mincore(2).

    The kernel answers "all of it" for files the user neither owns nor may write.
    """
    return sum(_resident_pages(path) for path in files) * mmap.PAGESIZE


def _resident_pages(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            return 0
        address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
        if address == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
        pages = -(-size // mmap.PAGESIZE)
        flags = (ctypes.c_ubyte * pages)()
        _libc.mincore(address, size, flags)
        _libc.munmap(address, size)
        return sum(flag & 1 for flag in flags)
    finally:
        os.close(descriptor)
