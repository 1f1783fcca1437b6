"""A run folder has one owner: what is started on it a second time is refused, and harms nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ground import HUNG, environment
from processes import begin, end_all, until_there
from ttt.errors import LaunchError
from ttt.supervise import owner
from warm import completed

TAKES = "import sys, pathlib, ttt.supervise.owner as o; o.take(pathlib.Path(sys.argv[1])); input()"


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv(owner.OWNS, raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


def taken(folder: Path, **variables: str) -> subprocess.Popen[str]:
    """Another process that owns it, until its input ends."""
    other = subprocess.Popen(
        [sys.executable, "-c", TAKES, str(folder)],
        stdin=subprocess.PIPE,
        env=environment(**variables),
        text=True,
    )
    until_there(folder / "logs" / "owner", other)
    while not (folder / "logs" / "owner").read_text():
        assert other.poll() is None
    return other


def test_an_owner_is_named_and_forgotten_when_it_ends(folder: Path):
    with taken(folder) as other:
        with pytest.raises(LaunchError, match=rf"is run by process {other.pid} on \S+ already"):
            owner.take(folder)
        other.kill()
    owner.take(folder)
    assert (folder / "logs" / "owner").read_text().startswith(f"process {os.getpid()} on ")


def test_a_job_that_slurm_starts_again_is_not_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    with taken(folder, SLURM_JOB_ID="7") as other:
        monkeypatch.setenv("SLURM_JOB_ID", "70")
        with pytest.raises(LaunchError, match="is run by job 7 on"):
            owner.take(folder)
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        owner.take(folder)
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        monkeypatch.setenv(owner.OWNS, str(folder))  # the batch script has it for all of us
        owner.take(folder)
        other.kill()


def test_a_second_start_is_refused_before_it_touches_the_record(tmp_path: Path, digits: Path):
    """The first is still on its way to RUN_START, when it has nothing to resume from."""
    mark = tmp_path / "mark"
    process = begin(
        tmp_path,
        f"data.root={digits}",
        *("launcher=torchrun", "launcher.procs=2", "clear_cache=off"),
        "task._target_=outside_parts.Trouble",
        FAULT="hang",
        FAULT_AT="init",
        FAULT_MARK=str(mark),
    )
    until_there(mark, process)
    [record] = tmp_path.glob("runs/*/*/*/events.jsonl")
    before = record.read_text()
    folder = record.parent
    again = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    second = completed(
        [sys.executable, *again, "-m", "ttt.worker", str(folder)],
        env=environment(),
    )
    assert second.returncode != 0
    assert f"{folder} is run by process " in second.stderr
    assert record.read_text().startswith(before)
    assert before.count('"init_start"') == 1
    assert list(folder.glob("logs/*.failure.json")) == []  # the first's launcher would end it
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=HUNG)
    assert process.returncode == 130
    assert end_all(tmp_path) == []
