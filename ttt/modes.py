"""Who may read what ttt writes: whom the umask lets, and the owner alone where a secret is."""

import os
from functools import partial
from pathlib import Path


def write(path: Path, text: str, *, private: bool) -> None:
    """Write a file; one that is there keeps its mode.

    Args:
        path: Where.
        text: What.
        private: Whether only the owner may read it, whatever the umask is.

    Raises:
        OSError: It cannot be written.
    """
    mode = 0o600 if private else 0o666
    with open(path, "w", opener=partial(os.open, mode=mode)) as file:
        file.write(text)


def by_umask(folder: Path) -> None:
    """Give a tree the modes that it would have if all of it had been made here and now.

    A draft is its owner's alone, and a copy has the mode of what was copied. A program stays one.
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
