"""What the system lets a process have: pinned memory, shared memory, open files.

Knows no torch.
"""

import os
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ttt.doctor.findings import Finding, Observation, by_host, names, ok, warning
from ttt.machine import kernel

# NCCL's documentation (Troubleshooting, "Shared Memory" and "Docker") asks for --shm-size=1g and
# --ulimit memlock=-1; Docker's own default for /dev/shm is 64 MiB.
_SHARED_BYTES = 1 << 30
# An InfiniBand queue pair pins its buffers; at less than this, registering them fails at scale.
_PINNED_BYTES = 64 << 30
# A process of Python, torch and DALI has some 200 files open, and a socket to each of its peers.
_FILES = 512
_FILES_PER_PEER = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process; None is unlimited for pinned_bytes, unknown for shared_bytes.

    Attributes:
        pinned_bytes: RLIMIT_MEMLOCK.
        shared_bytes: Size of /dev/shm.
        files: RLIMIT_NOFILE.
        infiniband: Names of its adapters.
    """

    pinned_bytes: int | None
    shared_bytes: int | None
    files: int
    infiniband: tuple[str, ...]


def look(sys: Path = kernel.SYS, shared: Path = Path("/dev/shm")) -> Limits:
    """The limits of this process."""
    pinned, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        size = os.statvfs(shared)
    except OSError:
        bytes_ = None
    else:
        bytes_ = size.f_frsize * size.f_blocks
    return Limits(
        None if pinned == resource.RLIM_INFINITY else pinned,
        bytes_,
        files,
        kernel.infiniband(sys),
    )


def judge(seen: Sequence[Observation[Limits]]) -> Iterator[Finding]:
    """Whether what is allowed will do for this many ranks."""
    hosts = by_host(seen)
    problems = [*_pinned(hosts), *_shared(hosts), *_files(hosts, len(seen))]
    yield from problems
    if not problems:
        one = seen[0].facts
        yield ok(
            "limits",
            f"/dev/shm {_or(one.shared_bytes, 'absent')},"
            f" pinned memory {_or(one.pinned_bytes, 'unlimited')},"
            f" {one.files} open files" + (f", {names(one.infiniband)}" if one.infiniband else ""),
            shared_bytes=one.shared_bytes,
            pinned_bytes=one.pinned_bytes,
            files=one.files,
            infiniband=one.infiniband,
            why={"pinned_bytes": "unlimited", "shared_bytes": "this system has no /dev/shm"},
        )


def _pinned(hosts: dict[str, Limits]) -> Iterator[Finding]:
    short = {
        host: limits.pinned_bytes
        for host, limits in hosts.items()
        if limits.infiniband and limits.pinned_bytes is not None
        if limits.pinned_bytes < _PINNED_BYTES
    }
    if short:
        yield warning(
            "pinned memory",
            f"ulimit -l is {_gib(min(short.values()))} on {names(short)}, and there is InfiniBand,"
            " whose buffers are pinned",
            "memlock unlimited in /etc/security/limits.conf, LimitMEMLOCK=infinity for slurmd, or"
            " --ulimit memlock=-1 for a container",
            pinned_bytes=short,
        )


def _shared(hosts: dict[str, Limits]) -> Iterator[Finding]:
    small = {
        host: limits.shared_bytes
        for host, limits in hosts.items()
        if limits.shared_bytes is not None and limits.shared_bytes < _SHARED_BYTES
    }
    if small:
        yield warning(
            "/dev/shm",
            f"{_gib(min(small.values()))} on {names(small)}; NCCL passes data through it",
            "--shm-size=1g for a container",
            shared_bytes=small,
        )


def _files(hosts: dict[str, Limits], size: int) -> Iterator[Finding]:
    needed = _FILES + _FILES_PER_PEER * size
    few = {host: limits.files for host, limits in hosts.items() if limits.files < needed}
    if few:
        yield warning(
            "open files",
            f"ulimit -n is {min(few.values())} on {names(few)}; {size} ranks need {needed}",
            f"ulimit -n {max(needed, 65536)}",
            files=few,
        )


def _or(value: int | None, otherwise: str) -> str:
    return otherwise if value is None else _gib(value)


def _gib(value: int) -> str:
    return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
