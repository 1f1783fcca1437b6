"""The SLURM cluster of the tests does what a real one does, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

import slurm_testbed
from ground import HUNG
from slurm_testbed import Cluster, missing

SCRIPT = Path(slurm_testbed.__file__)


def submit(cluster: Cluster, *arguments: str) -> str:
    submitted = cluster.run("sbatch", "--parsable", *arguments)
    assert submitted.returncode == 0, submitted.stderr
    return submitted.stdout.strip()


def until(true: Callable[[], bool], seconds: float = HUNG) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def until_states(cluster: Cluster, jobs: list[str], states: list[str]) -> None:
    """Wait for the jobs to be in these states."""
    # On a busy machine slurmctld can find a node silent that lives: its job is queued, and starts
    # again later.
    deadline = time.monotonic() + HUNG
    while (now := [*map(cluster.job_state, jobs)]) != states:
        assert time.monotonic() < deadline, (now, states, cluster.node_states())
        time.sleep(0.2)


def holders(folder: Path) -> list[str]:
    """Command lines of other processes that have a file of the folder open, or were told of it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_text() + (process / "environ").read_text()
            files = [os.readlink(link) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if str(folder) in "\0".join([told, *files]) and int(process.name) != os.getpid():
            found.append(told.replace("\0", " ")[:100])
    return found


def names(cluster: Cluster, node: str | None = None) -> list[str]:
    found = []
    for process in cluster.processes(node):
        with suppress(psutil.NoSuchProcess):  # it ended as we looked
            found.append(process.name())
    return found


def test_srun_reaches_every_node(cluster: Cluster):
    ran = cluster.run("srun", "-N4", "bash", "-c", "echo $SLURMD_NODENAME $SLURM_NODEID")
    assert sorted(ran.stdout.splitlines()) == ["n1 0", "n2 1", "n3 2", "n4 3"], ran.stderr


def test_each_node_has_two_gpus(cluster: Cluster):
    ask = ("srun", "-N2", "bash", "-c", "echo $CUDA_VISIBLE_DEVICES")
    assert cluster.run(*ask, SLURM_GPUS_PER_NODE="2").stdout == "0,1\n0,1\n"
    assert cluster.run(*ask).stdout == "\n\n"
    refused = cluster.run(*ask, SLURM_GPUS_PER_NODE="3")
    assert "Requested node configuration is not available" in refused.stderr


@pytest.mark.parametrize(("code", "state"), [(0, "COMPLETED"), (3, "FAILED")])
def test_a_batch_job_ends_as_its_script(cluster: Cluster, tmp_path: Path, code: int, state: str):
    script = f"srun hostname && exit {code}"
    job = submit(cluster, "-n2", f"--output={tmp_path}/log", "--wrap", script)
    assert cluster.wait(job) == state
    assert cluster.job(job)["ExitCode"] == f"{code}:0"
    assert len((tmp_path / "log").read_text().splitlines()) == 2


def test_a_requeued_job_starts_again(cluster: Cluster, tmp_path: Path):
    script = f"echo ${{SLURM_RESTART_COUNT:-0}} >> {tmp_path}/starts; sleep 100"
    job = submit(cluster, "--output=/dev/null", "--wrap", script)
    starts = tmp_path / "starts"
    until(starts.exists)
    assert cluster.run("scontrol", "requeue", job).returncode == 0
    # SLURM's own default lets it wait for two minutes.
    until(lambda: starts.read_text() == "0\n1\n")
    cluster.run("scancel", job)
    assert cluster.wait(job) == "CANCELLED"


def test_a_lost_node_is_noticed_and_comes_back(cluster: Cluster):
    jobs = [
        submit(cluster, f"-w{node}", "-p", "long", "--output=/dev/null", "--wrap", "sleep 900")
        for node in ("n2", "n3", "n4")
    ]
    until_states(cluster, jobs, ["RUNNING"] * 3)
    until(lambda: "sleep" in names(cluster, "n4"))  # its step says RUNNING a moment before
    cluster.kill_node("n3", power=True)
    assert cluster.processes("n3") == set()
    cluster.kill_node("n4")
    assert "sleep" in names(cluster, "n4")
    until_states(cluster, jobs, ["RUNNING", "PENDING", "PENDING"])
    assert list(cluster.node_states().values())[2:] == ["down*", "down*"]
    for node in ("n3", "n4"):
        cluster.revive_node(node)
    cluster.run("scancel", *jobs)
    until(lambda: set(cluster.node_states().values()) == {"idle"})
    until(lambda: names(cluster, "n4") == ["slurmd"])


def test_a_cluster_ends_alone_and_wholly(cluster: Cluster, tmp_path: Path):
    job = submit(cluster, "--output=/dev/null", "--wrap", "sleep 100")
    with Cluster(tmp_path / "slurm", nodes=2) as other:
        assert list(other.node_states()) == ["n1", "n2"]
        assert other.run("squeue", "--noheader").stdout == ""
        # Tasks that do not listen to signals, or that nothing but their step knows.
        submit(other, "--output=/dev/null", "--wrap", "trap '' TERM INT; sleep 100; sleep 100")
        submit(other, "--output=/dev/null", "-N2", "--wrap", "srun env -i sleep 100")
        srun = subprocess.Popen(["srun", "sleep", "100"], env=os.environ | other.environment)
        until(lambda: names(other).count("sleep") == 4)
    assert srun.wait() == -signal.SIGKILL
    assert holders(other.folder) == []
    other.stop()
    assert cluster.wait(job, "RUNNING") == "RUNNING"
    cluster.run("scancel", job)


def test_a_cluster_that_cannot_start_says_why_and_is_gone(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slurm_testbed, "SLURM_CONF", slurm_testbed.SLURM_CONF + "KillWait=soon\n")
    with pytest.raises(RuntimeError, match="soon"):
        Cluster(tmp_path / "slurm").start()
    assert holders(tmp_path) == []


def test_by_hand_it_runs_one_command(cluster: Cluster, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "--nodes=1", "--", "bash", "-c", "srun hostname; echo $0; exit 7"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, "")
    assert list(tmp_path.iterdir()) == []


def test_by_hand_it_is_gone_when_its_terminal_is(cluster: Cluster, tmp_path: Path):
    task = f"touch {tmp_path}/up; sleep 100"
    with subprocess.Popen(
        [sys.executable, SCRIPT, "--nodes=1", "--", "srun", "bash", "-c", task],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    ) as running:
        until((tmp_path / "up").exists)
        running.send_signal(signal.SIGHUP)
    assert running.returncode == 128 + signal.SIGHUP
    assert holders(tmp_path) == []
    assert list(tmp_path.iterdir()) == [tmp_path / "up"]


def test_a_machine_without_slurm_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert "apt-get install slurm-wlm munge" in str(missing())
