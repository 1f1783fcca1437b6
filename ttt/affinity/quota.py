"""How much CPU time the control groups of this process allow it. Knows no CPU by number.

A container limited by quota and not by cpuset (Kubernetes' `limits.cpu`, `docker run --cpus`) sees
every CPU of its machine. With a thread for each it uses up its time early in every period and then
stands still until the next.

Source: Linux, Documentation/admin-guide/cgroup-v2.rst (`cpu.max`) and, for version 1,
Documentation/scheduler/sched-bwc.rst (`cpu.cfs_quota_us`).
"""

from collections.abc import Iterator
from pathlib import Path


def cpu_quota(process: Path = Path("/proc/self")) -> float | None:
    """CPU seconds this process and its siblings may use in a second; None without a limit.

    A limit on any group above counts too, as far as this process can see them.

    Args:
        process: A process's folder in /proc.
    """
    limits = [
        limit
        for version, group in _groups(process)
        for folder in group
        if (limit := _limit(folder, version)) is not None
    ]
    return min(limits, default=None)


def _groups(process: Path) -> Iterator[tuple[int, list[Path]]]:
    """Version, and the folders from a group of this process up to where its tree is mounted."""
    try:
        groups = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mounts").read_text().splitlines()
    except OSError:
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        for mount in mounts:
            _, point, kind, options, *_ = mount.split()
            old = kind == "cgroup" and "cpu" in options.split(",")
            if (old and "cpu" in controllers.split(",")) or (kind == "cgroup2" and not controllers):
                # In a container the path may be the host's and lead nowhere: the group is then
                # the mount point itself, the last of these.
                folder, top = Path(point, path.lstrip("/")), Path(point)
                yield (
                    1 if old else 2,
                    [p for p in (folder, *folder.parents) if p.is_relative_to(top)],
                )


def _limit(group: Path, version: int) -> float | None:
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
