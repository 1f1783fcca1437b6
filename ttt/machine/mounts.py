"""The file system that a path lies on, and whether other machines can have it too."""

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
# Types whose files live on another machine. FUSE may be anything, so it counts as unknown.
_NETWORK = frozenset(
    "nfs nfs4 lustre gpfs beegfs ceph wekafs panfs pvfs2 orangefs glusterfs afs cifs smb3 9p"
    " virtiofs fuse.glusterfs fuse.sshfs fuse.juicefs fuse.ceph fuse.s3fs".split()
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its type ("ext4"), its source and where it is mounted."""

    type: str
    source: str
    point: str

    @property
    def shared(self) -> bool | None:
        """Whether other machines can have it too; None if the type does not show it."""
        if self.type in _NETWORK:
            return True
        return None if self.type.startswith("fuse") else False


def mount_of(path: Path) -> Mount | None:
    """What a path lies on; None where the system does not show it.

    Args:
        path: Need not exist.
    """
    return parse(path.resolve(), MOUNTS.read_text()) if MOUNTS.exists() else None


def parse(path: Path, mountinfo: str) -> Mount | None:
    """What a path lies on.

    Args:
        path: Absolute, links resolved.
        mountinfo: The text of /proc/self/mountinfo, see proc(5).
    """
    best: Mount | None = None
    for line in mountinfo.splitlines():
        ours, _, theirs = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), ours.split()[4]))
        type_, source = theirs.split()[:2]
        # The last of several on one point is on top.
        if path.is_relative_to(point) and (best is None or len(str(point)) >= len(best.point)):
            best = Mount(type_, source, str(point))
    return best
