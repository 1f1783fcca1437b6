"""How much CPU time the control groups of this process allow it. Knows no CPU by number.

A container limited by quota and not by cpuset (Kubernetes' `limits.cpu`, `docker run --cpus`) sees
every CPU of its machine. With a thread for each it uses up its time early in every period and then
stands still until the next.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`) and, for version 1,
Documentation/scheduler/sched-bwc.rst (`cpu.cfs_quota_us`).
"""

import itertools
from collections.abc import Iterator
from pathlib import Path


def cpu_quota(process: Path = Path("/proc/self")) -> float | None:
    """CPU seconds this process and its siblings may use in a second; None without a limit.

    A limit on any group above counts too, as far as this process can see them.

    Args:
        process: A process's folder in /proc.
    """
    limits = (_limit(version, group) for version, group in _groups(process))
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(process: Path) -> Iterator[tuple[int, Path]]:
    """Version and folder of each group of a process, up to where its tree is mounted."""
    try:
        groups = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mounts").read_text().splitlines()
    except OSError:
        return
    for group, mount in itertools.product(groups, mounts):
        _, controllers, path = group.split(":", 2)
        _, point, kind, options, *_ = mount.split()
        first = kind == "cgroup" and "cpu" in controllers.split(",") and "cpu" in options.split(",")
        second = kind == "cgroup2" and not controllers
        if first or second:
            # A container may show its host's path, which leads nowhere in it; its own group is
            # then the mount point, the last of these.
            lowest = Path(point, path.lstrip("/"))
            for folder in (lowest, *lowest.parents):
                if folder.is_relative_to(point):
                    yield (1 if first else 2), folder


def _limit(version: int, group: Path) -> float | None:
    try:
        if version == 1:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        else:
            quota, period = (group / "cpu.max").read_text().split()
    except OSError:
        return None
    unlimited = quota == "max" or int(quota) < 0
    return None if unlimited else int(quota) / int(period)
