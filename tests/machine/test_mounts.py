from pathlib import Path

import pytest

from ttt.machine import mounts

MOUNTS = r"""
22 1 8:1 / / rw - ext4 /dev/sda rw
30 22 0:30 / /shared rw master:1 - nfs4 server:/export rw
31 22 0:31 / /my\040disk rw - fuse.thing thing rw
32 30 0:32 / /shared rw - lustre mds:/fs rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind", "shared"),
    [
        ("/home/me", "ext4", False),
        ("/shared", "lustre", True),  # mounted over the first
        ("/shared/data", "lustre", True),
        ("/shared-not", "ext4", False),
        ("/my disk/data", "fuse.thing", None),
    ],
)
def test_a_path_lies_on_the_deepest_mount(path, kind, shared):
    mount = mounts.parse(Path(path), MOUNTS)
    assert (mount.type, mount.shared) == (kind, shared)
    assert mounts.parse(Path(path), "") is None


def test_a_folder_of_this_machine_lies_on_something(tmp_path: Path):
    assert tmp_path.is_relative_to(mounts.mount_of(tmp_path / "not" / "there").point)
