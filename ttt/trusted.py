"""Checks that only its user could have written a run folder.

The folder's configuration names functions to call, and its record and checkpoints decide the
result. So no other user may write there. The rules are those of OpenSSH for its keys
(sshd_config(5), StrictModes), and Debian's for a group that has one member. Folders that ttt makes
pass them under any umask: see `make` and `keep_others_out`.
"""

import contextlib
import errno
import functools
import grp
import os
import pwd
import shlex
import stat
import struct
import tempfile
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from ttt.errors import ConfigError
from ttt.run_folder import RunFolder

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_ABOVE = 3  # the folders of the launch, of the benchmark, and run_root
_NAMED = 3  # files in a sentence
# POSIX ACLs as Linux stores them: linux/posix_acl_xattr.h
_ACL, _DEFAULT_ACL = "system.posix_acl_access", "system.posix_acl_default"
_ACL_HEAD, _ACL_ENTRY = 4, struct.Struct("<HHI")
_ACL_LIMITS = (0x04, 0x10, 0x20)  # the group, the mask of all that are named, and others
_ACL_WRITE = 2


def keep_others_out() -> None:
    """From now on only this user may write what this process and its children make.

    Without this, a umask of 002, usual if each user has a group alone, would let the group write.
    """
    os.umask(os.umask(0o077) | _OTHERS_WRITE)


def make(folder: Path) -> None:
    """Make a run folder that no other user may write, under any umask and any ACLs around it.

    The folders above the folder of the launch follow the umask. If others may write in a new one,
    it is sticky: others can keep their runs there, too, and cannot move this run.

    Args:
        folder: RUN_ROOT/BENCHMARK/LAUNCH/RUN; only those of a launch share a folder.

    Raises:
        OSError: It cannot be made, is there, or the file system lets others write it all the same.
    """
    launch = folder.parent
    for parent in reversed(launch.parents):
        if parent.exists():
            continue
        with contextlib.suppress(FileExistsError):  # another launch has just made it
            parent.mkdir()
            mode = stat.S_IMODE(parent.stat().st_mode)
            if mode & _OTHERS_WRITE:
                parent.chmod(mode | stat.S_ISVTX)
    launch.mkdir(0o755, exist_ok=True)
    _inherit_no_writers(launch)
    folder.mkdir(0o755)
    RunFolder(folder).logs.mkdir(0o755)
    if problems(folder):
        why = "others may write what is made there, and such a run folder is not run"
        raise OSError(errno.EPERM, why, str(folder))


def _inherit_no_writers(folder: Path) -> None:
    """What will be made there is written by its owner alone; a default ACL overrides the umask."""
    with contextlib.suppress(OSError, AttributeError):  # it has none, or this is no Linux
        acl = bytearray(os.getxattr(folder, _DEFAULT_ACL))
        for at in range(_ACL_HEAD, len(acl), _ACL_ENTRY.size):
            tag, allowed, who = _ACL_ENTRY.unpack_from(acl, at)
            if tag in _ACL_LIMITS:
                _ACL_ENTRY.pack_into(acl, at, tag, allowed & ~_ACL_WRITE, who)
        os.setxattr(folder, _DEFAULT_ACL, bytes(acl))


def problems(folder: Path, *, whole: bool = True) -> list[str]:
    """Why a run folder cannot be trusted, a sentence each; empty if it can.

    Args:
        folder: Of the run.
        whole: Look at all that lies in it; else only at what every process of a run touches.
    """
    run = RunFolder(folder)
    inside = _tree(folder) if whole else [folder, run.logs, run.config]
    foreign: dict[Path, int] = {}
    open_to_others = []
    ours = _ourselves()
    for path in inside:
        try:
            status = path.stat() if path == folder else path.lstat()
        except OSError:  # gone meanwhile, or never made
            continue
        if status.st_uid not in ours:
            foreign[path] = status.st_uid
        elif _others_write(path, status):
            open_to_others.append(path)
    if foreign:
        ours |= _as_stored(folder)
    foreign = {path: owner for path, owner in foreign.items() if owner not in ours}
    shown = shlex.quote(str(folder))
    found = []
    if foreign:
        owners = ", ".join(_user(owner) for owner in sorted(set(foreign.values())))
        found.append(
            f"{folder} is not run: {_listed(folder, [*foreign])} belongs to {owners}, not to"
            f" {_user(os.geteuid())}, and the owner of a run folder decides what it runs; if you"
            f" trust all of its files: chown -R {os.geteuid()} {shown}"
        )
    if open_to_others:
        found.append(
            f"{folder} is not run: others may write {_listed(folder, open_to_others)}, and so"
            f" decide what it runs; if only you have changed it: chmod -R go-w {shown}"
        )
    above = [*folder.absolute().parents[:_ABOVE], *folder.resolve().parents[:_ABOVE]]
    return found + movable(above)


def movable(parents: Sequence[Path]) -> list[str]:
    """A sentence for each of these folders in which others could replace our run folder.

    Args:
        parents: Folders above the run folder; those that do not exist are skipped.
    """
    found = []
    for parent in dict.fromkeys(parents):
        try:
            status = parent.stat()
        except OSError:
            continue
        if _others_write(parent, status) and not status.st_mode & stat.S_ISVTX:
            shown = shlex.quote(str(parent))
            found.append(
                f"others may write {parent}, and replace your run folders by their own;"
                f" chmod go-w {shown}, or chmod +t {shown} if others keep their runs there, too,"
                " or run_root=DIR for another place"
            )
    return found


def made_by_us(path: Path) -> bool:
    """Whether what has this path is ours, and no link to anywhere."""
    status = path.lstat()
    return not stat.S_ISLNK(status.st_mode) and (
        status.st_uid in _ourselves() or status.st_uid in _as_stored(path.parent)
    )


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A file of a run folder, open for reading; what was opened is what was judged.

    Raises:
        ConfigError: Others could have written it, it is no file, or a link.
        OSError: It cannot be opened.
    """
    with open(path, "rb", opener=_at_once) as file:
        status = os.fstat(file.fileno())
        shown = shlex.quote(str(path))
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError([f"{path} is not read: it is no file; rm -r {shown}"])
        ours = _ourselves()
        if status.st_uid not in ours and status.st_uid not in _as_stored(path.parent):
            whose = f"it belongs to {_user(status.st_uid)}, not to {_user(os.geteuid())}"
            raise ConfigError([f"{path} is not read: {whose}; chown {os.geteuid()} {shown}"])
        if _others_write(path, status):
            raise ConfigError([f"{path} is not read: others may write it; chmod go-w {shown}"])
        yield file


def read(path: Path) -> bytes:
    """What a file of a run folder holds; raises as `opened` does."""
    with opened(path) as file:
        return file.read()


def private_folder(folder: Path) -> bool:
    """Make a folder that no other user may read or write; return whether it is one.

    Args:
        folder: An absolute path. Each folder above it must be ours or root's, too.
    """
    try:
        for each in (*reversed(folder.parents), folder):
            with contextlib.suppress(FileExistsError):  # another process may be making it, too
                each.mkdir(0o700)
            status = each.lstat() if each == folder else each.stat()
            sticky = bool(status.st_mode & stat.S_ISVTX) and each != folder
            if status.st_uid not in _ourselves() or not stat.S_ISDIR(status.st_mode):
                return False
            if _others_write(each, status) and not sticky:
                return False
        folder.chmod(0o700)
        with tempfile.TemporaryFile(dir=folder):  # else it is read only, or full
            return True
    except OSError:
        return False


def _tree(folder: Path) -> Iterator[Path]:
    yield folder
    for here, folders, files in os.walk(folder):
        yield from (Path(here, name) for name in (*folders, *files))


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for a writer of a pipe, and follow no link out of the run folder."""
    try:
        return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigError([f"{path} is not read: it is a link; put a copy there"]) from error


def _ourselves() -> set[int]:
    """The users whose files ttt trusts: this one, and root, who could change any file."""
    return {os.geteuid(), 0}


def _as_stored(folder: Path) -> set[int]:
    """The owner of the files that this process makes there: a server may name another user.

    NFS does so for root's files (root_squash), other servers for all users' files.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return {os.fstat(probe.fileno()).st_uid}
    except OSError:
        return set()


def _others_write(path: Path, status: os.stat_result) -> bool:
    """Whether users other than the owner of the path and root may write it.

    If the path has an ACL, the group's bits limit every entry of the ACL.
    """
    mode = status.st_mode
    if stat.S_ISLNK(mode) or not mode & _OTHERS_WRITE:
        return False
    if mode & stat.S_IWOTH:
        return True
    return not _of_one_member(status.st_gid) or _has_acl(path)


def _has_acl(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, _ACL))
    except (OSError, AttributeError):  # it has none, or this is no Linux
        return False


@functools.cache
def _of_one_member(group_id: int) -> bool:
    """Whether a group has this user's name and no other member: by convention, the user's own."""
    try:
        me, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(group_id)
    except KeyError:
        return False
    if me.pw_gid != group_id or group.gr_name != me.pw_name or {*group.gr_mem} - {me.pw_name}:
        return False
    return not any(each.pw_gid == group_id and each.pw_uid != me.pw_uid for each in pwd.getpwall())


def _user(number: int) -> str:
    try:
        return f"{pwd.getpwuid(number).pw_name} (uid {number})"
    except KeyError:
        return f"uid {number}"


def _listed(folder: Path, paths: Sequence[Path]) -> str:
    """Files of a run folder, for a sentence."""
    names = [str(path.relative_to(folder)) if path != folder else "it" for path in paths]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
