"""Temporary files of this process go to a folder of its own, which goes with the process.

A worker ends by `os._exit`, which runs nothing that libraries registered to remove their files.
"""

import atexit
import contextlib
import getpass
import os
import shutil
import tempfile
from pathlib import Path
from typing import NoReturn

_own: list[tuple[int, str]] = []  # the process that made a folder, and that folder


def variables(folder: str) -> dict[str, str]:
    """Variables for a process whose temporary files go to a folder that will be removed.

    What torch has compiled is kept where it always is.
    """
    name = "TORCHINDUCTOR_CACHE_DIR"
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # one without a name, as in some containers
        user = str(os.getuid())
    compiled = Path(tempfile.gettempdir()) / f"torchinductor_{user}"
    return {"TMPDIR": folder, name: os.environ.get(name, str(compiled))}


def take() -> None:
    """Give this process, and what it starts, a folder for temporary files; it goes at the end."""
    with contextlib.suppress(OSError):  # no such folder can be made: it may not be needed
        folder = tempfile.mkdtemp(prefix="ttt-")
        _own.append((os.getpid(), folder))
        atexit.register(leave)  # first registered, last called: libraries remove files of theirs
        os.environ.update(variables(folder))
        tempfile.tempdir = folder


def leave() -> None:
    """Remove the folder of this process, if it has one."""
    for process, folder in _own:
        if process == os.getpid():  # and not a copy of it that began as a fork
            shutil.rmtree(folder, ignore_errors=True)


def end(code: int) -> NoReturn:
    """End this process at once, whatever its threads do: only its temporary files go first."""
    leave()
    os._exit(code)
