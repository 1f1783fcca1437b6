"""Decides which files of another person's tree may be copied, and which no tool may read.

A tree is unpacked from an archive or cloned, and may hold links to anything the packager can read:
a key, a password file. So only regular files are copied, and only if their true place is inside the
tree. May not know what is in a file, except for lines that MLCommons' tools would read for hours.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from ttt.compliance.log import Log
from ttt.submission.entry import PARAMETERS, Entry

LARGEST = 1 << 30  # bytes of one file; published logs have a few megabytes


def problems(entries: Sequence[Entry]) -> list[str]:
    """A sentence for everything in the runs' trees that may not be copied or judged.

    Args:
        entries: The runs to be packaged.
    """
    found: dict[str, None] = {}
    for entry in entries:
        tree = os.path.realpath(_tree(entry))
        found |= dict.fromkeys(_of(entry, tree))
    return list(found)


def _tree(entry: Entry) -> Path:
    """The folder that holds all of a run: its run folder, or the submitter's."""
    if entry.ours or entry.log is None:
        return entry.path
    return entry.tree or entry.log.absolute().parent


def _of(entry: Entry, tree: str) -> Iterator[str]:
    files = [file for file in (entry.log, entry.system_file, *_beside(entry)) if file is not None]
    logs = [entry.log] if entry.log is not None else []
    for folder in (entry.power, entry.implementation):
        if folder is None:
            continue
        if (why := _outside(folder, tree)) is not None:
            yield why
            continue
        for path in _below(folder):
            if path.is_symlink() and folder == entry.implementation:
                yield from _link(path, folder)
            else:
                files.append(path)
                logs += [path] if folder == entry.power else []
    for file in files:
        if (why := _file(file, tree)) is not None:
            yield why
            logs = [log for log in logs if log != file]
    for log in logs:
        endless = entry.endless if log == entry.log else Log.read(log).endless
        yield from (f"{log}: {why}" for why in endless)


def _beside(entry: Entry) -> Iterator[Path]:
    """What else is read or copied: of a run folder all its files, of a tree the parameters."""
    if entry.ours:
        yield from (each for each in sorted(entry.path.iterdir()) if not each.is_dir())
    elif entry.log is not None:
        folder = entry.log.absolute().parent
        above = [each / PARAMETERS for each in (folder, folder.parent)]
        yield from (file for file in above if os.path.lexists(file))


def _below(folder: Path) -> Iterator[Path]:
    """Every file and every link below a folder; links are not followed."""
    for name, folders, files in os.walk(folder):
        links = [each for each in folders if os.path.islink(os.path.join(name, each))]
        yield from (Path(name, each) for each in sorted([*files, *links]))


def _link(path: Path, folder: Path) -> Iterator[str]:
    """A link in an implementation is copied as a link, so it must stay inside and be relative."""
    target = os.readlink(path)
    real = os.path.realpath(path)
    if os.path.isabs(target) or not _is_inside(real, os.path.realpath(folder)):
        yield f"{path} is a link to {target}, outside of {folder}; {_advice(path)}"


def _outside(path: Path, tree: str) -> str | None:
    real = os.path.realpath(path)
    if _is_inside(real, tree):
        return None
    return f"{path} leads to {real}, outside of {tree}; {_advice(path)}"


def _file(path: Path, tree: str) -> str | None:
    """Why a file may not be copied; None if it may."""
    if (why := _outside(path, tree)) is not None:
        return why
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        return f"{path} is not a regular file; allowed: regular files"
    if status.st_size > LARGEST:
        return f"{path} has {status.st_size:,} bytes; allowed: up to {LARGEST:,}"
    return None


def _is_inside(real: str, tree: str) -> bool:
    return os.path.commonpath([real, tree]) == tree


def _advice(path: Path) -> str:
    return f"allowed: regular files inside the tree; look at {path}, and remove or replace the link"
