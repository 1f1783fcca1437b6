"""Decides who may read ttt's files: the umask decides, but a file with a secret is its owner's."""

import os
from functools import partial
from pathlib import Path


def write(path: Path, text: str, *, private: bool) -> None:
    """Write a file; one that is there keeps its mode.

    Args:
        path: Where.
        text: What.
        private: Whether only the owner may read it, under any umask.

    Raises:
        OSError: It cannot be written.
    """
    mode = 0o600 if private else 0o666
    with open(path, "w", opener=partial(os.open, mode=mode)) as file:
        file.write(text)


def by_umask(folder: Path) -> None:
    """Give all files of a tree the modes of the umask.

    Before this, only the owner can open a draft, and a copy has the mode of its source. A program
    stays executable.
    """
    mask = os.umask(0o077)
    os.umask(mask)
    for here, _, files in os.walk(folder):
        for name in files:
            file = Path(here, name)
            if not file.is_symlink():
                every = 0o777 if file.stat().st_mode & 0o100 else 0o666
                file.chmod(every & ~mask)
        Path(here).chmod(0o777 & ~mask)
