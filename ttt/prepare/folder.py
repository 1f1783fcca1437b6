"""How a prepared data set comes to be on disk: all at once, with a manifest, or not at all.

Shared by the preparers; knows folders and hashes, not images.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ttt.data import manifest as manifests
from ttt.errors import DataError
from ttt.prepare import room

MANIFEST = manifests.MANIFEST
_BLOCK = 1 << 20  # bytes read at a time

Progress = Callable[[int, int], None]  # (files done, files in all)


def silent(done: int, total: int) -> None:
    """Show no progress."""


def manifest_of(manifest: Path) -> dict[str, Any]:
    """What a manifest says; nothing if it is absent, damaged or a file of another program."""
    try:
        return manifests.content(manifest)
    except DataError:
        return {}


def is_complete(out: Path, counts: Mapping[str, int]) -> bool:
    """Whether `out` holds a whole set with these counts already.

    Raises:
        DataError: Something else is in the way.
    """
    if not out.exists():
        return False
    manifest = out / MANIFEST
    if manifest_of(manifest).get("counts") == counts:
        return True
    if out.is_dir() and not any(out.iterdir()):
        return False
    raise DataError(
        f"{out} exists and is not this data set as ttt prepares it (no {MANIFEST} with "
        f"{dict(counts)}): remove it, or type --out DIR"
    )


def is_prepared(out: Path, identity: Mapping[str, Any]) -> bool:
    """Whether `out` holds this set already.

    Raises:
        DataError: Something else is in the way.
    """
    manifest = out / MANIFEST
    if manifest.is_file():
        found = manifest_of(manifest)
        differing = [name for name in identity if found.get(name) != identity[name]]
        if not differing:
            return True
        differences = ", ".join(
            f"{name} {found.get(name)}, not {identity[name]}" for name in differing
        )
        raise DataError(f"{out} holds another set ({differences}): remove it, or type --out DIR")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists and is no prepared set: remove it, or type --out DIR")
    return False


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to fill, beside `out` and renamed to it at the end.

    Renaming is one step of the file system, so an interrupted preparation leaves nothing that
    could be taken for a data set; what was written is removed.

    Raises:
        DataError: The disk is full.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.{os.getpid()}.partial"
    partial.mkdir()
    try:
        with room.reporting_full(out):
            yield partial
        try:
            partial.rename(out)
        except OSError:
            # Two runs may prepare the same set at once; the slower one uses the other's.
            if not (out / MANIFEST).is_file():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_manifest(folder: Path, source: str, counts: Mapping[str, int], **more: Any) -> None:
    """Record where a set came from, how large it is, and a hash over all of it.

    Args:
        folder: Of the set.
        source: Where it came from.
        counts: Files in each part.
        more: What else is worth knowing of this set.

    Raises:
        DataError: A part has another number of files than `counts` says.
    """
    for part, expected in counts.items():
        found = sum(1 for path in (folder / part).rglob("*") if path.is_file())
        if found != expected:
            raise DataError(
                f"{source} gave {found} files for {part}, {expected} expected: the source is "
                "incomplete or another data set"
            )
    fields = {"source": source, "counts": dict(counts), **more}
    manifest = fields | {"sha256": content_hash(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def file_hash(path: Path) -> str:
    """SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(folder: Path) -> str:
    """SHA-256 over the sorted relative names and the contents of all files but the manifest."""
    whole = hashlib.sha256()
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    for name in names:
        if name != MANIFEST:
            path = folder / name
            whole.update(os.fsencode(f"{name}\0{path.stat().st_size}\0"))
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    whole.update(block)
    return whole.hexdigest()
