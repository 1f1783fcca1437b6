"""Images on their way to a prepared set: as class folders, or packed into shards with indexes.

Shared by the preparers of images; knows parts, files and formats, not where a list comes from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ttt.data import bounds
from ttt.data.listing import Classes, names
from ttt.errors import DataError, TttError
from ttt.prepare import room
from ttt.prepare.folder import MANIFEST, Progress, manifest_of, whole_folder, write_manifest
from ttt.prepare.named import count_problems
from ttt.prepare.shards import FORMATS, Part, Source, write_part

PLAN = "packing.json"  # what is being packed, while it is


def options(parser: ArgumentParser, kind: str, shards: str) -> None:
    """Add what every set of images asks for.

    Args:
        parser: Of one set.
        kind: The form that is made unless another is asked for.
        shards: How many shards there are then.
    """
    parser.add_argument("--format", choices=("folder", *FORMATS), default=kind)
    parser.add_argument(
        "--shards",
        type=int,
        help=f"files for training, an eighth as many for the evaluation ({shards}; recordio 1,"
        " since DALI's and MXNet's readers take a single index)",
    )


def ignored(kind: str, shards: int | None) -> list[str]:
    """A sentence if a number of shards was asked for where there are none."""
    if shards is None or kind != "folder":
        return []
    return [
        f"--shards {shards} has no effect with --format folder, which makes none; allowed: with"
        f" --format {', '.join(FORMATS)}; leave --shards out"
    ]


def faults(found: Classes) -> list[str]:
    """A sentence for each thing that keeps a folder from being one part of a set."""
    folder, wrong = os.fsdecode(found.folder), found.unseen()
    if found.empty:
        wrong.append(
            f"{folder}: every class needs an image, and {len(found.empty)} hold none:"
            f" {names(found.empty)}; complete the set, or remove what is empty"
        )
    return wrong


def sources_of(found: Classes) -> list[Source]:
    """The images of a part, each with the place of its class in sorted order as its label."""
    return [
        Source(path, label, f"{os.fsdecode(name)}/{path.name}")
        for label, (name, paths) in enumerate(found.images.items())
        for path in map(Path, map(os.fsdecode, paths))
    ]


def write(
    out: Path,
    sources: Mapping[str, Sequence[Source]],
    progress: Progress,
    *,
    kind: str,
    shards: int,
    seed: int | None,
    about: dict[str, Any],
) -> None:
    """Write a set of two parts; nothing if it is there.

    An interrupted packing goes on where it was, by shard, if it is asked for with the same words.

    Args:
        out: The folder that becomes `data.root`.
        sources: The images for training and those for the evaluation, by the names of the parts.
        progress: Called with (images packed, images in all).
        kind: "folder", which links all files, or copies them where links cannot be; or one of
            `FORMATS`.
        shards: Files for training; the evaluation gets an eighth of that, rounded up.
        seed: Of the shuffle of training samples over shards; None: in order.
        about: "source" and "classes", and what else the manifest is to say.

    Raises:
        DataError: An image cannot be read or is none, there is no room, or something else lies at
            `out`.
    """
    if wrong := count_problems({"--shards": (shards, 1024)}):
        raise DataError(*wrong)
    (train, first), (held_out, second) = sources.items()
    parts = (
        Part(train, first, min(shards, len(first)), seed),
        Part(held_out, second, min(-(-shards // 8), len(second)), None),
    )
    if kind == "folder":
        _link(parts, about, out, progress)
    else:
        _pack(parts, kind, about, out, progress)


def _link(parts: Sequence[Part], about: dict[str, Any], out: Path, progress: Progress) -> None:
    counts = {part.name: len(part.sources) for part in parts}
    listing, size = _fingerprint(parts)
    plan: dict[str, Any] = {"format": "folder", "counts": counts, "listing": listing}
    refuse_other(out, plan)
    if (out / MANIFEST).is_file():
        return
    done = 0
    with whole_folder(out) as folder:
        if not _links(parts[0].sources[0].path, folder):
            room.need(out, size)
        for part in parts:
            for one in part.sources:
                path = folder / part.name / one.name
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(one.path.resolve(), path)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(one.path, path)
                done += 1
                progress(done, sum(counts.values()))
        write_manifest(folder, **about, **plan)


def _links(path: Path, folder: Path) -> bool:
    """Whether a file can be linked into a folder, and so takes no room there."""
    return path.stat().st_dev == folder.stat().st_dev


def _pack(
    parts: Sequence[Part], kind: str, about: dict[str, Any], out: Path, progress: Progress
) -> None:
    counts = {part.name: len(part.sources) for part in parts}
    listing, size = _fingerprint(parts)
    plan = {
        "format": kind,
        "counts": counts,
        "shards": {part.name: part.shards for part in parts},
        "seed": parts[0].seed,
        "listing": listing,
    }
    refuse_other(out, plan)
    if (out / MANIFEST).is_file():
        return
    room.need(out, size - (room.used(out) if out.is_dir() else 0))
    made = not out.is_dir()
    out.mkdir(parents=True, exist_ok=True)
    (out / PLAN).write_text(json.dumps(plan))
    done = 0

    def packed(count: int) -> None:
        nonlocal done
        done += count
        progress(done, sum(counts.values()))

    files: dict[str, Any] = {}
    try:
        with room.reporting_full(out):
            for part in parts:
                files |= write_part(part, kind, out / part.name, packed)
    except TttError:
        _leave(out, parts, made=made)
        raise
    manifest = {**about, **plan, "files": files}
    (out / PLAN).write_text(json.dumps(manifest, indent=1) + "\n")
    (out / PLAN).rename(out / MANIFEST)


def _leave(out: Path, parts: Sequence[Part], *, made: bool) -> None:
    """Remove what was begun, unless a shard is complete, which need not be written again."""
    folders = [out / part.name for part in parts]
    if any(path.suffix != ".idx" for folder in folders for path in folder.glob("[!.]*")):
        return
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    (out / PLAN).unlink()
    if made:
        out.rmdir()


def refuse_other(out: Path, plan: Mapping[str, Any]) -> None:
    """Go on only with what this plan began, or in an empty place.

    Args:
        out: Where the set is to be.
        plan: What its manifest will say, or as much of it as is known before files are read.

    Raises:
        DataError: Something else lies at `out`.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    for name in (PLAN, MANIFEST):
        if (out / name).is_file():
            found = {"format": "folder"} | manifest_of(out / name)
            if all(found.get(key) == value for key, value in plan.items()):
                return
    raise DataError(
        f"{out} exists and is not what was asked for: another set, other options, or not made by"
        " ttt; remove it, or type --out DIR"
    )


def _fingerprint(parts: Sequence[Part]) -> tuple[str, int]:
    """A digest that distinguishes lists of images without reading the files, and their bytes.

    Raises:
        DataError: One is no file, or too large for an image.
    """
    whole, total = hashlib.sha256(), 0
    for part in parts:
        for one in part.sources:
            size = _size(one.path)
            total += size
            line = f"{part.name}\0{one.name}\0{one.label}\0{size}\n"
            whole.update(os.fsencode(line))
    return whole.hexdigest(), total


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; remove or replace it") from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path} cannot be read: it is a folder, a pipe or a device; remove it")
    if found.st_size > bounds.IMAGE:
        raise DataError(
            f"{path} has {found.st_size:,} bytes; allowed: {bounds.IMAGE:,} an image; remove or"
            " replace it"
        )
    return found.st_size
