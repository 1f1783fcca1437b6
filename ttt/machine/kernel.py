"""Reads files of the kernel under /sys and /proc; None is what it hides or does not know."""

import os
from pathlib import Path

SYS = Path("/sys")
CPUINFO = Path("/proc/cpuinfo")
PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def text(path: Path) -> str | None:
    """The contents of a file without the line end; None where it is absent or refused."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A number of sysfs; None where it is absent or -1, the kernel's word for unknown."""
    found = text(path)
    return None if found is None or int(found) < 0 else int(found)


def processor_model(cpuinfo: Path = CPUINFO) -> str | None:
    """The model of the first processor."""
    lines = (text(cpuinfo) or "").splitlines()
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, None)


def boot_id() -> str | None:
    """Different on every machine, and the same on all nodes that share one."""
    return text(_BOOT_ID)


def outgoing_ports() -> int | None:
    """Size of the range that sockets get their ports from."""
    found = text(PORT_RANGE)
    if found is None:
        return None
    low, high = map(int, found.split())
    return high - low + 1


def infiniband(sys: Path = SYS) -> tuple[str, ...]:
    """Names of the InfiniBand adapters."""
    adapters = sys / "class" / "infiniband"
    return tuple(sorted(os.listdir(adapters))) if adapters.is_dir() else ()
