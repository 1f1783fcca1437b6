"""Where runs are written and the data set is read from: type, space, and do all nodes see the same.

Knows no torch. How fast it reads is in `ttt.doctor.reading`.
"""

import contextlib
import hashlib
import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ttt.data.listing import folders_in
from ttt.doctor.findings import Finding, Gather, Observation, by_host, failure, names, ok, warning
from ttt.machine.mounts import MOUNTS, Mount, mount_of
from ttt.schema.run import RunConfig

_LOW_BYTES = 1 << 30  # logs are small, and checkpoints of the models here some 100 MB
_FULL_BYTES = 32 << 20  # events.jsonl and the logs of a long run
_NO_TYPE = f"{MOUNTS} does not show the file system"
_DEEP = 2  # levels of a data set's folders that are compared: split and class


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as one rank sees it.

    Attributes:
        path: Absolute.
        exists: Whether there is such a folder here.
        mount: What it lies, or would lie, on; None where the system does not show it.
        free_bytes: Space left there for this user.
        writable: Whether this process may write there; None for a folder that is only read.
        content: A fingerprint of the names of its folders; None where there is none.
    """

    path: str
    exists: bool
    mount: Mount | None
    free_bytes: int
    writable: bool | None = None
    content: str | None = None


def look_runs(run: RunConfig) -> Folder:
    """Where this rank would write runs."""
    path = Path(run.run_root).absolute()
    return replace(_folder(path), writable=os.access(nearest(path), os.W_OK))


def look_data(run: RunConfig) -> Folder | None:
    """Where this rank would read the data set; None if data.root is not set."""
    root = getattr(run.data, "root", "")
    if not root:
        return None
    folder = _folder(Path(root).absolute())
    return replace(folder, content=_fingerprint(Path(root))) if folder.exists else folder


def probe(run: RunConfig, rank: int, gather: Gather) -> bool:
    """Whether this rank sees a file that rank 0 has just written where runs go."""
    # Where run_root does not exist yet, its parent counts: rank 0 will make it there.
    file = nearest(Path(run.run_root).absolute()) / f".ttt-doctor-{uuid.uuid4().hex}"
    if rank == 0:
        with contextlib.suppress(OSError):  # a folder that cannot be written has its own finding
            file.write_text("")
    name: str = gather(str(file))[0]
    seen = os.path.exists(name)
    gather(None)  # every rank has looked
    if rank == 0:
        file.unlink(missing_ok=True)
    return seen


def nearest(path: Path) -> Path:
    """The folder itself, or the closest above it that exists."""
    return next(one for one in (path, *path.parents) if one.is_dir())


def judge_runs(seen: Sequence[Observation[Folder]], visible: Sequence[bool]) -> Iterator[Finding]:
    """Whether rank 0, the only one that needs to, can write its run folder.

    Args:
        seen: The folder as each rank sees it.
        visible: Whether each rank saw rank 0's file, by rank.
    """
    first = seen[0].facts
    data: dict[str, Any] = {
        "path": first.path,
        "type": first.mount.type if first.mount else None,
        "free_bytes": first.free_bytes,
        "seen_by_all": all(visible) if first.writable else None,
        "why": {"type": _NO_TYPE, "seen_by_all": "rank 0 cannot write there"},
    }
    if not first.writable:
        yield failure(
            "run_root",
            f"{first.path} cannot be written by rank 0 on {seen[0].host}",
            "run_root=DIR",
            **data,
        )
        return
    blind = {one.host for one in seen if not visible[one.rank]}
    summary = f"{first.path} on {_where(first)}, {first.free_bytes / 1e9:.1f} GB free"
    if len(by_host(seen)) > 1:
        summary += f"; not seen by {names(sorted(blind))}" if blind else ", seen by all nodes"
    if first.free_bytes < _LOW_BYTES:
        report = failure if first.free_bytes < _FULL_BYTES else warning
        yield report("run_root", summary, "make room, or run_root=DIR", **data)
    elif blind:
        # The run itself does not need it; finding out why a rank hung does.
        yield warning(
            "run_root",
            summary,
            "a folder that all nodes share keeps every rank's log: run_root=DIR",
            **data,
        )
    else:
        yield ok("run_root", summary, **data)


def judge_data(seen: Sequence[Observation[Folder | None]], *, made: bool) -> Iterator[Finding]:
    """Whether every node has the data set, and the same one.

    Args:
        seen: The folder as each rank sees it.
        made: Whether `ttt run` makes the set where it is absent.
    """
    folders = {host: folder for host, folder in by_host(seen).items() if folder is not None}
    if not folders:
        # A failure of the configuration, which gives the command that prepares the set.
        yield ok(
            "data set",
            "not examined: data.root is not set",
            path=None,
            why={"path": "data.root is not set"},
        )
        return
    first = next(iter(folders.values()))
    data: dict[str, Any] = {
        "path": first.path,
        "type": {host: one.mount.type if one.mount else None for host, one in folders.items()},
        "shared": first.mount.shared if first.mount else None,
        "why": {"type": _NO_TYPE, "shared": "the type of the file system does not show it"},
    }
    absent = [host for host, one in folders.items() if not one.exists]
    if len(absent) == len(folders) and made:
        summary = f"{first.path} is not there yet; `ttt run` makes it"
        if len(folders) == 1:
            yield ok("data set", summary, **data)
        else:
            advice = "data.root=DIR on a file system that all nodes share, or `ttt data` on each"
            yield warning("data set", f"{summary}, on rank 0's node", advice, **data)
        return
    if absent:
        advice = "copy it there, or data.root=DIR on a file system that all nodes share"
        yield failure("data set", f"{first.path} is not on {names(absent)}", advice, **data)
        return
    yield from _compare(folders, first, data)


def _compare(
    folders: Mapping[str, Folder], first: Folder, data: Mapping[str, Any]
) -> Iterator[Finding]:
    groups = defaultdict(list)
    for host, folder in folders.items():
        groups[folder.content].append(host)
    if len(groups) > 1:
        listed = " and ".join(f"on {names(hosts)}" for hosts in groups.values())
        yield failure(
            "data set",
            f"{first.path} holds different folders {listed}",
            "copy the same set to every node",
            **data,
        )
        return
    kind = {True: "shared", False: "local", None: "maybe shared"}[
        first.mount.shared if first.mount else None
    ]
    same = ", the same folders on every node" if len(folders) > 1 else ""
    yield ok("data set", f"{first.path} on {_where(first)} ({kind}){same}", **data)


def _where(folder: Folder) -> str:
    mount = folder.mount
    return f"{mount.type} ({mount.source})" if mount else "an unknown file system"


def _folder(path: Path) -> Folder:
    near = nearest(path)
    space = os.statvfs(near)
    free = space.f_frsize * space.f_bavail
    return Folder(str(path), path.is_dir(), mount_of(near), free)


def _fingerprint(root: Path) -> str:
    """Of the names and order of the upper folders: cheap even for a million files."""
    digest = hashlib.sha256()

    def visit(folder: Path, depth: int) -> None:
        for name in folders_in(os.fsencode(folder)):
            digest.update(b"%d/%b\n" % (depth, name))
            if depth < _DEEP:
                visit(folder / os.fsdecode(name), depth + 1)

    visit(root, 1)
    return digest.hexdigest()
