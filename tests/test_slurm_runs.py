"""`ttt run launcher=slurm` on a real cluster of four nodes, from Enter to the result."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import PROJECT, command, environment

if TYPE_CHECKING:
    from slurm_testbed import Cluster

SLURM = ("launcher=slurm", "launcher.wait=true", "clear_cache=fadvise")
ENDLESS = ("target.threshold=1.0", "target.max_epochs=100000")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path, digits: Path) -> Iterator[Start]:
    """Start `ttt run` on the cluster's login node; every job is over at the end."""

    def run(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command("run", *arguments, f"data.root={digits}", f"run_root={tmp_path}/runs"),
            env=environment(**cluster.environment, **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    yield run
    cluster.run("scancel", "--me")
    while cluster.run("squeue", "--noheader").stdout:
        time.sleep(0.1)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    out, errors = process.communicate(timeout=200)
    return process.returncode, out, errors


def summaries(tmp_path: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(tmp_path.glob("runs/*/*/*/summary.json"))]


def events(tmp_path: Path) -> list[dict]:
    [record] = tmp_path.glob("runs/*/*/*/events.jsonl")
    return [json.loads(line) for line in record.read_text().splitlines()]


def number_of(tmp_path: Path) -> str:
    """The job whose log is here."""
    [log] = tmp_path.glob("runs/*/*/slurm-*.out")
    return log.stem.removeprefix("slurm-")


def until_training(tmp_path: Path, process: subprocess.Popen[str]) -> str:
    """Wait for the first steps; the number of the job."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for record in tmp_path.glob("runs/*/*/*/events.jsonl"):
            if '"progress"' in record.read_text():
                return number_of(tmp_path)
        time.sleep(0.1)
    raise AssertionError("training did not begin")


def test_two_runs_of_a_task_for_each_process_in_one_allocation(start: Start, tmp_path: Path):
    code, out, errors = ended(start(*SLURM, "launcher.nodes=2", "launcher.procs=2", "runs=2"))
    assert code == 0, out + errors
    done = summaries(tmp_path)
    assert [one["status"] for one in done] == ["success", "success"]
    assert [(one["nodes"], one["world_size"]) for one in done] == [(2, 4), (2, 4)]
    assert all(one["compliance"]["passed"] for one in done)
    assert re.search(r"^submitted job \d+: runs 2, nodes 2, processes 4$", out, re.MULTILINE)
    assert out.count("success after") == 2  # the log, live
    assert "2 of 2 runs count" in out  # and the table
    assert re.search(r"^ttt: job \d+ is running on n\[\d-\d\]$", errors, re.MULTILINE)


def test_an_array_of_torchrun_agents(start: Start, tmp_path: Path):
    asked = ["launcher.mode=agent", "launcher.array=true", "launcher.nodes=2", "launcher.procs=2"]
    code, out, errors = ended(start(*SLURM, *asked, "runs=2"))
    assert code == 0, out + errors
    done = summaries(tmp_path)
    assert [(one["nodes"], one["world_size"], one["status"]) for one in done] == [
        (2, 4, "success"),
        (2, 4, "success"),
    ]
    assert all(one["compliance"]["passed"] for one in done)
    assert len(list(tmp_path.glob("runs/*/*/slurm-*_[01].out"))) == 2
    assert re.search("^0: success after", out, re.MULTILINE)
    assert re.search("^1: success after", out, re.MULTILINE)


def test_a_sweep_submits_its_jobs_at_once(start: Start, cluster: Cluster, tmp_path: Path):
    sizes = ["--multirun", "launcher.nodes=1,2,4", "launcher.procs=1", "launcher.gpus_per_node=1"]
    code, out, errors = ended(start(*sizes, *SLURM[::2], "device=cpu"))
    assert code == 0, out + errors
    jobs = re.findall(r"^submitted job (\d+)", out, re.MULTILINE)
    assert len(jobs) == 3
    assert out.count("ttt report ") == 3
    assert summaries(tmp_path) == []  # they have only been submitted
    assert [cluster.wait(job) for job in jobs] == ["COMPLETED"] * 3
    done = sorted((one["nodes"], one["world_size"], one["status"]) for one in summaries(tmp_path))
    assert done == [(1, 1, "success"), (2, 2, "success"), (4, 4, "success")]


def test_the_script_can_be_submitted_by_hand(start: Start, cluster: Cluster, tmp_path: Path, digits: Path):
    typed = ["sbatch", "--wait", "-N2", "--ntasks-per-node=1", f"--output={tmp_path}/log"]
    typed += [str(PROJECT / "slurm" / "job.sbatch"), "benchmark=digits", "seed=3"]
    typed += [f"data.root={digits}", f"run_root={tmp_path}/runs", "clear_cache=fadvise"]
    path = f"{Path(command()[0]).parent}:/usr/bin:/bin"
    done = cluster.run(*typed, **environment(PATH=path))
    log = (tmp_path / "log").read_text()
    assert done.returncode == 0, log + done.stderr
    [summary] = summaries(tmp_path)
    assert (summary["seed"], summary["world_size"], summary["status"]) == (3, 2, "success")
    assert log.count("time to train") == 1


@pytest.mark.parametrize("mode", ["task", "agent"])
def test_a_job_told_to_make_room_goes_on_after_a_requeue(
    start: Start, cluster: Cluster, tmp_path: Path, mode: str
):
    limits = ["target.threshold=1.0", "target.max_epochs=30"]
    process = start(*SLURM, *limits, f"launcher.mode={mode}", "launcher.procs=2")
    number = until_training(tmp_path, process)
    cluster.run("scancel", "--signal=USR1", number)
    code, out, errors = ended(process)
    assert code == 3, out + errors
    assert f"job {number} is back in the queue" in out
    assert re.search(r"job \d+ is running on n\d, requeued 1 x", errors)
    assert "target.max_epochs=30" in out
    kinds = [event["kind"] for event in events(tmp_path)]
    assert kinds.count("suspended") == kinds.count("resumed") == 1
    assert kinds.count("run_stop") == 1


def test_a_cancelled_job_is_told_as_such(start: Start, cluster: Cluster, tmp_path: Path):
    process = start(*SLURM, *ENDLESS, "launcher.nodes=2", "launcher.procs=1")
    number = until_training(tmp_path, process)
    cluster.run("scancel", number)
    code, out, errors = ended(process)
    assert code == 5, out + errors
    assert f"job {number} is cancelled" in errors
    assert "somebody cancelled it (scancel)" in errors
    assert "Traceback" not in out + errors
    [stop] = [event for event in events(tmp_path) if event["kind"] == "run_stop"]
    assert stop["data"]["status"] == "aborted"
    assert "SIGTERM" in stop["data"]["reason"]


def test_a_job_at_its_time_limit_is_told_as_such(start: Start, cluster: Cluster, tmp_path: Path):
    process = start(*SLURM, *ENDLESS, "launcher.procs=1", "launcher.signal_seconds=null")
    number = until_training(tmp_path, process)
    # A limit has whole minutes; the end that follows from it can be set by the second.
    cluster.run("scontrol", "update", f"JobId={number}", "EndTime=now+2")
    code, out, errors = ended(process)
    assert code == 5, out + errors
    assert f"job {number} is timeout" in errors
    assert "its time limit passed; launcher.time=MINUTES" in errors
    [stop] = [event for event in events(tmp_path) if event["kind"] == "run_stop"]
    assert stop["data"]["status"] == "aborted"


def test_a_user_who_waits_no_longer_takes_the_job_along(
    start: Start, cluster: Cluster, tmp_path: Path
):
    process = start(*SLURM, "launcher.lines=['--hold']")
    assert process.stderr is not None
    assert "is pending (JobHeldUser)" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, out, errors = ended(process)
    assert code == 130
    assert re.search(r"job \d+ is cancelled\nttt: stopped by SIGINT", errors)
    [number] = re.findall(r"submitted job (\d+)", out)
    assert cluster.wait(number) == "CANCELLED"


def test_a_failing_rank_is_told_once(start: Start, tmp_path: Path):
    broken = ["task._target_=outside_parts.Raises", "launcher.procs=2"]
    path = f"{PROJECT}:{PROJECT / 'tests' / 'outside'}"
    code, out, errors = ended(start(*SLURM, *broken, PYTHONPATH=path))
    assert code == 5
    assert (out + errors).count("ZeroDivisionError: the defect of rank 1") == 1
    assert re.search(r"rank 1 on \S+ failed, see above", errors)


@pytest.mark.parametrize(
    ("override", "code", "said"),
    [
        ("launcher.partition=gpu", 2, "gpu is not a partition here; allowed: debug, long"),
        ("launcher.nodes=5", 2, "more than the 4 nodes of partition debug"),
        ("launcher.constraint=nosuch", 5, "Invalid feature specification"),
    ],
)
def test_what_the_cluster_refuses_leaves_nothing_behind(
    start: Start, tmp_path: Path, override: str, code: int, said: str
):
    ended_with, out, errors = ended(start(*SLURM, override, "launcher.procs=1"))
    assert (ended_with, out) == (code, "")
    assert said in errors
    assert "Traceback" not in errors
    assert list(tmp_path.glob("runs/*/*")) == []
