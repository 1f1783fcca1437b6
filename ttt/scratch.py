"""Puts temporary files of this process into a folder of its own, and removes it with the process.

A worker ends by `os._exit`, which does not run the clean-up that libraries registered. The code
that torch compiled stays in the user's own cache, where no other user may write.
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import NoReturn

from ttt import trusted

_own: list[tuple[int, str]] = []  # the process that made a folder, and that folder
_COMPILED = "TORCHINDUCTOR_CACHE_DIR"  # Triton's kernels lie in it, too
_CPU_BYTES = 8192  # of /proc/cpuinfo: its first processor


def keep_compiled() -> str | None:
    """Let torch keep what it compiles in the user's cache, where later runs find it.

    By default torch uses a folder in /tmp with a known name, which any user could make first. A
    folder that the user names by TORCHINDUCTOR_CACHE_DIR is used as it is.

    Returns:
        Why it will not be kept, but goes with this process; None if it is kept.
    """
    if _COMPILED in os.environ:
        return None
    given = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(given if os.path.isabs(given) else "~/.cache").expanduser()
    folder = cache / "ttt" / "compiled" / _machine()
    kept = folder.is_absolute() and trusted.private_folder(folder) and _locks(folder)
    os.environ[_COMPILED] = str(folder) if kept else tempfile.mkdtemp(prefix="compiled-")
    if kept:
        return None
    return (
        f"what torch compiles is not kept for later runs: {folder} is not a folder that you alone"
        f" can write, with locks; {_COMPILED}=DIR for another"
    )


def _machine() -> str:
    """A name for machines of one kind: a home may be on many, and code is compiled for the CPU."""
    known = [os.uname().machine]
    with contextlib.suppress(OSError), open("/proc/cpuinfo", "rb") as file:
        lines = file.read(_CPU_BYTES).decode(errors="replace").splitlines()
        known += sorted(
            {line for line in lines if line.startswith(("model name", "flags", "Feat"))}
        )
    return f"{known[0]}-{zlib.crc32(chr(10).join(known).encode()):08x}"


def _locks(folder: Path) -> bool:
    """Whether its file system has the locks by which processes share what they compile."""
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def take() -> None:
    """Give this process, and what it starts, a folder for temporary files; it goes at the end."""
    with contextlib.suppress(OSError):  # no such folder can be made: it may not be needed
        folder = tempfile.mkdtemp(prefix="ttt-")
        _own.append((os.getpid(), folder))
        atexit.register(leave)  # first registered, last called: after the clean-up of libraries
        os.environ["TMPDIR"] = folder
        tempfile.tempdir = folder


def leave() -> None:
    """Remove the folder of this process, if it has one."""
    for process, folder in _own:
        if process == os.getpid():  # and not a copy of it that began as a fork
            shutil.rmtree(folder, ignore_errors=True)


def end(code: int) -> NoReturn:
    """Remove the temporary files of this process, then end it at once, with all its threads."""
    leave()
    os._exit(code)
