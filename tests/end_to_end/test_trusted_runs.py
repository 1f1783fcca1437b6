"""Real processes on run folders that others may write, and what they leave for others to write."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from fakes import Recorder
from ground import command, environment
from processes import ENDLESS, end_all, events, until_training
from ttt import config, trusted
from ttt.build import build
from ttt.cli import run as cli_run
from ttt.clock import Clock
from ttt.distributed.world import Solo
from ttt.events import EventLog, Kind
from ttt.supervise.heartbeat import Heartbeat
from warm import Warm, completed

SOMEBODY = 54321


def frozen(tmp_path: Path, digits: Path, *settings: str, processes: int = 1) -> Path:
    """A run folder that `ttt run` would start processes for."""
    config.register()
    overrides = [f"run_root={tmp_path}/runs", f"data.root={digits}", "seed=1", *settings]
    job = cli_run.freeze(config.compose(overrides), 1, processes, ["ttt", "run"])
    return job.runs[0]


def plant(folder: Path, model: dict[str, object]) -> None:
    """Have the configuration of a run folder name another model."""
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"model": model}))


def worker(folder: Path, **variables: str) -> subprocess.Popen[str]:
    return Warm(
        [sys.executable, "-m", "ttt.worker", str(folder)],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def contents(folder: Path) -> dict[str, object]:
    """Names, sizes and times of all that lies in it."""
    files = sorted(folder.rglob("*"))
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def test_what_a_folder_of_others_names_is_not_called(tmp_path: Path, digits: Path):
    mark = tmp_path / "mark"
    folder = frozen(tmp_path, digits)
    plant(folder, {"_target_": "os.mkdir", "path": str(mark)})
    folder.chmod(0o777)
    before = contents(folder)
    process = worker(folder)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 2, out + errors
    assert not mark.exists()
    assert f"{folder} is not run: others may write it, " in errors
    assert errors.count("ttt: ") == 1
    assert contents(folder) == before


@pytest.mark.parametrize("bad", [(0, 1), (1,)], ids=["all", "one node"])
def test_all_ranks_end_together_where_one_refuses(tmp_path: Path, digits: Path, bad: Sequence[int]):
    """Each on a node of its own, which sees a folder of its own."""
    folders = []
    for rank in range(2):
        folders.append(frozen(tmp_path / f"node{rank}", digits, processes=2))
        if rank in bad:
            (folders[rank] / "logs").chmod(0o777)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [worker(folder, RANK=str(rank), **place) for rank, folder in enumerate(folders)]
    said = [rank.communicate(timeout=240) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [2, 2], said
    both = "".join(errors for _, errors in said)
    assert both.count("is not run: others may write logs, ") == 1
    assert f"rank {bad[0]} on " in both
    for rank in bad:
        assert list((folders[rank] / "logs").iterdir()) == []


def test_under_a_torchrun_typed_by_hand_the_sentence_is_on_the_screen(tmp_path: Path, digits: Path):
    """It ends rank 0 as soon as another rank has ended."""
    folder = frozen(tmp_path, digits, processes=2)
    folder.chmod(0o777)
    before = contents(folder)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = completed(
        [sys.executable, "-m", *torchrun, "-m", "ttt.worker", str(folder)],
        env=environment(),
    )
    assert done.returncode == 1, done.stderr  # torchrun's own
    refused = rf"^ttt: rank 0 on \S+: rank 0 on \S+: {folder} is not run: others may write it, "
    assert len(re.findall(refused, done.stderr, re.M)) == 1, done.stderr
    assert done.stderr.count("\nttt: rank ") == 1
    assert contents(folder) == before


def test_a_run_at_a_site_with_umask_002_goes_on(tmp_path: Path, digits: Path):
    """New files belong to a group of many members there, which may write all but run folders."""
    if os.geteuid() == 0:
        os.chown(tmp_path, -1, SOMEBODY)
        tmp_path.chmod(0o2755)
    words = [f"run_root={tmp_path}/runs", f"data.root={digits}", *ENDLESS, "seed=3"]
    process = Warm(
        command("run", *words, "checkpoint_every_seconds=0.1"),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        umask=0o002,
    )
    run = until_training(tmp_path, process)
    process.send_signal(signal.SIGUSR1)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 75, out + errors
    assert list(run.glob("checkpoint/step_*/rank_0.pt"))
    modes = [file.lstat().st_mode for file in [run, *run.rglob("*")]]
    assert not [mode for mode in modes if mode & 0o022 and not stat.S_ISLNK(mode)]
    shared = run.parents[2].stat().st_mode
    assert (bool(shared & stat.S_IWGRP), bool(shared & stat.S_ISVTX)) == (True, True)
    assert f"\nnext:  python -m ttt.worker {run}\n" in out
    again = worker(run)
    deadline = time.monotonic() + 120
    while not events(run, "resumed", whole=False) and time.monotonic() < deadline:
        assert again.poll() is None, again.communicate()
        time.sleep(0.05)
    again.send_signal(signal.SIGUSR1)
    out, errors = again.communicate(timeout=120)
    assert again.returncode == 75, out + errors
    assert errors.count(f"next:  python -m ttt.worker {run}\n") == 1  # also typed by hand
    assert end_all(tmp_path) == []


# What torch compiles.


def kept(home: Path, **variables: str) -> tuple[Path, str]:
    """Where a process of this home keeps what it compiles, and what it says of it."""
    code = (
        "import os; from ttt import scratch; scratch.take(); print(scratch.keep_compiled() or '')"
    )
    code += "; print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"
    given = {name: value for name, value in environment().items() if "CACHE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=given | {"HOME": str(home)} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    said, where = done.stdout.splitlines()
    return Path(where), said


def test_what_torch_compiles_is_kept_where_nobody_else_reads_or_writes(tmp_path: Path):
    where, said = kept(tmp_path)
    assert said == ""
    assert where.parent == tmp_path / ".cache" / "ttt" / "compiled"
    assert {stat.S_IMODE(each.stat().st_mode) for each in (where, where.parent)} == {0o700}
    where.chmod(0o755)  # others may read it
    assert kept(tmp_path) == (where, "")
    assert stat.S_IMODE(where.stat().st_mode) == 0o700
    assert kept(tmp_path, XDG_CACHE_HOME=str(tmp_path / "x"))[0].is_relative_to(tmp_path / "x")
    assert kept(tmp_path, TORCHINDUCTOR_CACHE_DIR="/my/own") == (Path("/my/own"), "")


@pytest.mark.parametrize("trap", ["writable", "link", "foreign", "above", "no home"])
def test_a_cache_that_others_may_write_is_not_used(tmp_path: Path, trap: str):
    where, _ = kept(tmp_path)
    home = tmp_path
    if trap == "writable":
        where.chmod(0o777)
    elif trap == "above":
        (tmp_path / ".cache").chmod(0o777)
    elif trap == "link":
        where.rename(tmp_path / "elsewhere")
        where.symlink_to(tmp_path / "elsewhere")
    elif trap == "no home":
        home = Path("/proc")
    elif os.geteuid() == 0:
        os.chown(where, SOMEBODY, -1)
    else:
        pytest.skip("only root gives files to others")
    used, said = kept(home)
    assert not used.is_relative_to(tmp_path)
    assert not used.exists()  # it went with its process
    assert "what torch compiles is not kept for later runs" in said
    assert "TORCHINDUCTOR_CACHE_DIR=DIR" in said


def test_processes_may_make_it_at_the_same_time(tmp_path: Path):
    with ThreadPoolExecutor(16) as pool:
        folder = tmp_path / "a" / "b" / "c"
        assert all(pool.map(trusted.private_folder, [folder] * 64))


@pytest.mark.parametrize("home", ["usable", "/proc"])
def test_a_compiled_run_keeps_what_is_compiled_or_says_that_it_does_not(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch, home: str
):
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "so that it is restored")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setattr(nn.Module, "compile", lambda model: None)  # a minute
    folder = frozen(tmp_path, digits, "compile=true")
    run_config = config.load((folder / "config.yaml").read_text())
    record = Recorder()
    log = EventLog(time.time, [record])
    parts = build(run_config, Solo(torch.device("cpu")), Clock(time.time), log, Heartbeat())
    parts.data.close()
    used = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert stat.S_IMODE(used.stat().st_mode) == 0o700
    warnings = [event.data["message"] for event in record.events if event.kind is Kind.WARNING]
    if home == "usable":
        assert used.is_relative_to(tmp_path / home / ".cache" / "ttt")
        assert warnings == []
    else:
        assert ["is not kept for later runs" in warning for warning in warnings] == [True]
        used.rmdir()
