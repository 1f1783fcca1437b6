"""ttt runs no folder that others may write, and makes none."""

import ctypes
import grp
import os
import pickle
import pwd
import shlex
import shutil
import stat
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ttt import config, trusted
from ttt.cli import run as cli_run
from ttt.distributed import checkpoint
from ttt.distributed.world import Solo
from ttt.errors import ConfigError, DataError, LaunchError
from ttt.prepare.stages import resumable_folder
from ttt.supervise import resume

SOMEBODY = 54321
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
FILES = (
    "config.yaml",
    "events.jsonl",
    "environment.json",
    "checkpoint/step_5/progress.json",
    "checkpoint/step_5/rank_0.pt",
    "logs/rank_0.log",
)
PLACES = ("", "logs", "checkpoint", "checkpoint/step_5", *FILES)


@pytest.fixture
def masked() -> Iterator[Callable[[int], int]]:
    """Sets the umask, until the test is over."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder as ttt leaves it where a run is suspended."""
    made = tmp_path / "runs" / "digits" / "launch" / "seed_1"
    trusted.make(made)
    for name in FILES:
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text("{}")
        (made / name).chmod(0o644)
    return made


def typed(sentence: str) -> None:
    """Type what a sentence says to type."""
    _, _, command = sentence.rpartition(": ")
    subprocess.run(shlex.split(command), check=True)


def test_what_ttt_makes_is_trusted_whatever_the_umask(tmp_path: Path, masked):
    for number, mask in enumerate((0o000, 0o002, 0o022, 0o077)):
        masked(mask)
        made = tmp_path / f"runs_{number}" / "digits" / "launch" / "seed_1"
        trusted.make(made)
        trusted.keep_others_out()
        (made / "config.yaml").write_text("{}")
        (made / "checkpoint" / "step_5").mkdir(parents=True)
        assert trusted.problems(made) == []
        modes = {stat.S_IMODE(each.stat().st_mode) for each in (made, made.parent, made / "logs")}
        assert modes == {0o755 & ~mask}
        shared = stat.S_IMODE(made.parents[2].stat().st_mode)  # as it was, but nobody moves ours
        assert shared == (0o777 & ~mask) | (stat.S_ISVTX if mask < 0o020 else 0)


def test_launches_may_make_run_root_at_the_same_time(tmp_path: Path):
    folders = [tmp_path / "a" / "runs" / "digits" / str(number) / "seed_1" for number in range(32)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(trusted.make, folders))
    assert all(map(Path.is_dir, folders))


def test_a_second_run_of_a_launch_shares_its_folder_and_no_run_its_own(tmp_path: Path):
    launch = tmp_path / "runs" / "digits" / "launch"
    trusted.make(launch / "seed_1")
    trusted.make(launch / "seed_2")
    with pytest.raises(FileExistsError):
        trusted.make(launch / "seed_2")


@pytest.mark.parametrize("bits", [stat.S_IWOTH, stat.S_IWGRP])
@pytest.mark.parametrize("place", PLACES)
def test_what_others_may_write_is_refused_and_told_how_to_mend(
    folder: Path, place: str, bits: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trusted, "_of_one_member", lambda group: False)
    path = folder / place
    path.chmod(path.stat().st_mode | bits)
    [sentence] = trusted.problems(folder)
    assert sentence.startswith(f"{folder} is not run: others may write {place or 'it'}, ")
    typed(sentence)
    assert trusted.problems(folder) == []


@AS_ROOT
@pytest.mark.parametrize("place", PLACES)
def test_what_belongs_to_another_is_refused_and_told_how_to_mend(folder: Path, place: str):
    os.chown(folder / place, SOMEBODY, -1)
    [sentence] = trusted.problems(folder)
    assert f"{place or 'it'} belongs to uid {SOMEBODY}, not to root (uid 0)" in sentence
    typed(sentence)
    assert trusted.problems(folder) == []


@AS_ROOT
def test_links_are_judged_by_who_made_them(folder: Path):
    link = folder / "latest"
    link.symlink_to("logs")  # everybody may write any link, says its mode
    assert trusted.problems(folder) == []
    os.chown(link, SOMEBODY, -1, follow_symlinks=False)
    assert "latest belongs to uid" in trusted.problems(folder)[0]


def test_many_files_make_one_sentence(folder: Path):
    for name in FILES:
        (folder / name).chmod(0o666)
    [sentence] = trusted.problems(folder)
    assert "and 3 more" in sentence


@pytest.mark.parametrize("above", [0, 1, 2])
def test_a_folder_above_in_which_others_could_swap_it_is_refused(folder: Path, above: int):
    parent = folder.parents[above]
    parent.chmod(0o777)
    [sentence] = trusted.problems(folder)
    assert sentence.startswith(f"others may write {parent}, ")
    assert f"chmod go-w {parent}, or chmod +t {parent}" in sentence
    parent.chmod(0o1777)
    assert trusted.problems(folder) == []


def test_a_launch_is_refused_where_others_could_swap_its_folder(
    refused, digits: Path, tmp_path: Path
):
    runs = tmp_path / "team"
    runs.mkdir()
    runs.chmod(0o777)
    [sentence] = refused(f"run_root={runs}", f"data.root={digits}")
    assert f"others may write {runs}, " in sentence


def test_a_file_system_without_permissions_is_told_before_any_process(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trusted, "_others_write", lambda path, status: True)  # as on a USB stick
    config.register()
    composed = config.compose([f"run_root={tmp_path}/runs", f"data.root={digits}", "seed=1"])
    with pytest.raises(ConfigError, match=r"others may write what is made there.*run_root=DIR"):
        cli_run.freeze(composed, 1, 1, ["ttt", "run"])


# A group that has the user's name, and no other member, is his own.
ME = SimpleNamespace(pw_name="ada", pw_uid=os.geteuid(), pw_gid=os.getegid())
OTHER = SimpleNamespace(pw_name="bob", pw_uid=701, pw_gid=701)


@pytest.mark.parametrize(
    ("group", "everybody", "own"),
    [
        (("ada", []), [ME, OTHER], True),
        (("ada", ["ada"]), [ME, OTHER], True),
        (("ada", []), [OTHER], True),  # a directory that does not list its users
        (("ada", ["ada", "bob"]), [ME, OTHER], False),
        (("ada", []), [ME, SimpleNamespace(pw_name="bob", pw_uid=701, pw_gid=os.getegid())], False),
        (("users", []), [ME], False),  # its other members may not be listed
    ],
)
def test_a_group_of_one_member_may_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch, group, everybody: list[object], own: bool
):
    name, members = group
    monkeypatch.setattr(pwd, "getpwuid", lambda number: ME)
    monkeypatch.setattr(pwd, "getpwall", lambda: everybody)
    told = SimpleNamespace(gr_name=name, gr_mem=members)
    monkeypatch.setattr(grp, "getgrgid", lambda number: told)
    trusted._of_one_member.cache_clear()
    (folder / "config.yaml").chmod(0o664)
    folder.chmod(0o775)
    assert (trusted.problems(folder) == []) == own
    (folder / "config.yaml").chmod(0o666)
    assert trusted.problems(folder) != []
    trusted._of_one_member.cache_clear()


def acl(named: int) -> bytes:
    """An ACL that lets one more user do what `named` says, as setfacl -m u:54321 stores it."""
    entries = [(1, 7, -1), (2, named, SOMEBODY), (4, 5, -1), (16, 7, -1), (32, 5, -1)]
    return struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, bits, who & 0xFFFFFFFF) for tag, bits, who in entries
    )


def with_acl(path: Path, kind: str) -> None:
    try:
        os.setxattr(path, f"system.posix_acl_{kind}", acl(7))
    except OSError as error:
        pytest.skip(f"no ACLs in {path}: {error}")


def test_an_acl_lets_others_write_where_the_group_would_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trusted, "_of_one_member", lambda group: True)
    with_acl(folder / "config.yaml", "access")
    assert stat.S_IMODE((folder / "config.yaml").stat().st_mode) == 0o775  # the mask
    [sentence] = trusted.problems(folder)
    typed(sentence)
    assert trusted.problems(folder) == []


def test_a_default_acl_around_a_run_lets_nobody_write_what_is_made_in_it(tmp_path: Path, masked):
    with_acl(tmp_path, "default")
    made = tmp_path / "runs" / "digits" / "launch" / "seed_1"
    trusted.make(made)
    (made / "config.yaml").write_text("{}")  # a default ACL has no umask
    (made / "checkpoint").mkdir()
    assert trusted.problems(made) == []
    assert (tmp_path / "runs").stat().st_mode & stat.S_ISVTX


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "config.yaml", 0o600)
    with pytest.raises(ConfigError, match=r"it is no file; rm -r \S+config.yaml$"):
        trusted.read(tmp_path / "config.yaml")
    (tmp_path / "events.jsonl").symlink_to("/etc/passwd")  # root's, which is trusted elsewhere
    with pytest.raises(ConfigError, match="it is a link; put a copy there"):
        trusted.read(tmp_path / "events.jsonl")


@AS_ROOT
def test_what_is_opened_is_judged_not_what_had_its_name(folder: Path):
    """A second name of another's file, put there after the folder was looked at."""
    theirs = folder.parents[3] / "theirs"
    theirs.write_text("{}")
    os.chown(theirs, SOMEBODY, -1)
    for name in FILES:
        (folder / name).unlink()
        (folder / name).hardlink_to(theirs)
        with pytest.raises(ConfigError, match=f"belongs to uid {SOMEBODY}.*; chown 0 "):
            trusted.read(folder / name)
    with pytest.raises(ConfigError):
        resume.recall(folder)
    with pytest.raises(ConfigError):
        checkpoint.find(folder / "checkpoint")
    with pytest.raises(LaunchError, match="belongs to"):
        checkpoint.read(folder / "checkpoint", 5, Solo(torch.device("cpu")))


@AS_ROOT
def test_root_whose_files_a_server_gives_to_nobody_runs_them(tmp_path: Path):
    """As on NFS with root_squash: files are made as another user than the process runs as."""
    place = Path(tempfile.mkdtemp(prefix="ttt-test-"))  # pytest's own are closed to others
    os.chown(place, SOMEBODY, -1)
    libc = ctypes.CDLL(None)
    libc.setfsuid(SOMEBODY)
    try:
        made = place / "runs" / "digits" / "launch" / "seed_1"
        trusted.make(made)
        (made / "config.yaml").write_text("{}")
        assert made.stat().st_uid == SOMEBODY
        assert trusted.problems(made) == []
        assert trusted.read(made / "config.yaml") == b"{}"
    finally:
        libc.setfsuid(0)
    [sentence] = trusted.problems(made)  # where root is root, it is another's
    assert f"belongs to uid {SOMEBODY}" in sentence
    shutil.rmtree(place)


class Attack:
    """What pickle makes of it is a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_checkpoint_holds_nothing_that_pickle_would_run(tmp_path: Path):
    """Numbers, texts and tensors: torch reads no more with weights_only."""
    step = tmp_path / "step_5"
    step.mkdir()
    for evil in (pickle.dumps(Attack(tmp_path / "mark")), None):
        if evil:
            (step / "rank_0.pt").write_bytes(evil)
        else:
            torch.save({"alike": {"a": Attack(tmp_path / "mark")}, "own": {}}, step / "rank_0.pt")
        with pytest.raises(LaunchError):
            checkpoint.read(tmp_path, 5, Solo(torch.device("cpu")))
        assert not (tmp_path / "mark").exists()


def test_a_draft_of_a_known_name_is_not_filled_for_another(tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".set.partial").symlink_to("elsewhere")
    with (
        pytest.raises(DataError, match=r"\.set\.partial is a link, or not yours: remove it"),
        resumable_folder(tmp_path / "set"),
    ):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
