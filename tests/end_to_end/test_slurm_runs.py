"""`ttt run launcher=slurm` on a real cluster of four nodes, from Enter to the result."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

from faults import CLUSTER_FAULTS, ClusterFault, meet_on
from ground import HUNG, PROJECT, Command, environment
from processes import EASY, TINY, begin, events, until_training, worker
from slurm_testbed import Cluster
from ttt.report.read.find import find

SLURM = ("launcher=slurm", "launcher.wait=true", "clear_cache=fadvise")
ENDLESS = (*TINY, "target.threshold=1.0", "target.max_epochs=100000")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(cluster: Cluster, tmp_path: Path, digits: Path, warm_python: Path) -> Iterator[Start]:
    """Start `ttt run` on the cluster's login node; every job is over at the end."""

    def run(*arguments: str, root: Path = tmp_path, **variables: str) -> subprocess.Popen[str]:
        typed = [*SLURM, f"data.root={digits}", *arguments]
        if not any(word.startswith("launcher.python=") for word in arguments):
            typed.append(f"launcher.python={warm_python}")
        return begin(root, *typed, **cluster.environment, **variables)

    yield run
    cluster.run("scancel", "--me")
    while cluster.run("squeue", "--noheader").stdout:
        time.sleep(0.1)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    out, errors = process.communicate(timeout=HUNG)
    return process.returncode, out, errors


def summaries(tmp_path: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/*/summary.json")]


def sizes(tmp_path: Path) -> list[tuple[int, int, str]]:
    """Nodes, processes and status of every run; a run that breaks MLPerf's rules is not let by."""
    done = summaries(tmp_path)
    assert all(one["compliance"]["passed"] for one in done)
    return sorted((one["nodes"], one["world_size"], one["status"]) for one in done)


def number_of(run: Path) -> str:
    """The job of a run."""
    [log] = run.parent.glob("slurm-*.out")
    return log.stem.removeprefix("slurm-")


def test_two_runs_of_a_task_for_each_process_in_one_allocation(start: Start, tmp_path: Path):
    code, out, errors = ended(start(*EASY, "launcher.nodes=2", "launcher.procs=2", "runs=2"))
    assert code == 0, out + errors
    assert sizes(tmp_path) == [(2, 4, "success")] * 2
    assert re.search(r"^submitted job \d+: runs 2, nodes 2, processes 4$", out, re.MULTILINE)
    assert out.count("success after") == 2  # the log, as it grows
    assert "TTT_KEY" not in out  # rank 0 would say that there is none
    assert "2 of 2 runs count" in out  # and the table at the end
    assert re.search(r"^ttt: job \d+ is running on n\[\d-\d\]$", errors, re.MULTILINE)


def test_an_array_of_torchrun_agents(start: Start, tmp_path: Path):
    asked = ["launcher.mode=agent", "launcher.array=true", "launcher.nodes=2", "launcher.procs=1"]
    code, out, errors = ended(start(*EASY, *asked, "runs=2"))
    assert code == 0, out + errors
    assert sizes(tmp_path) == [(2, 2, "success")] * 2
    assert len(list(tmp_path.glob("runs/*/*/slurm-*_[01].out"))) == 2
    assert re.search("^0: success after", out, re.MULTILINE)
    assert re.search("^1: success after", out, re.MULTILINE)
    assert "TTT_KEY" not in out


def test_a_sweep_submits_its_jobs_at_once(
    ttt: Command, cluster: Cluster, tmp_path: Path, digits: Path, warm_python: Path
):
    typed = ["--multirun", "launcher=slurm", "launcher.nodes=1,3", "launcher.gpus_per_node=1"]
    typed += [f"launcher.python={warm_python}"]
    typed += [*EASY, "device=cpu", "clear_cache=fadvise", f"data.root={digits}"]
    done = ttt("run", *typed, **cluster.environment)
    assert done.returncode == 0, done.stderr
    jobs = re.findall(r"^submitted job (\d+)", done.stdout, re.MULTILINE)
    assert len(jobs) == 2
    assert done.stdout.count("ttt report ") == 2
    assert summaries(tmp_path) == []  # they have only been submitted
    assert [cluster.wait(job) for job in jobs] == ["COMPLETED"] * 2
    assert sizes(tmp_path) == [(1, 1, "success"), (3, 3, "success")]


def test_the_template_can_be_submitted_by_hand(cluster: Cluster, tmp_path: Path, digits: Path):
    typed = ["sbatch", "--parsable", "-N2", "--ntasks-per-node=1", f"--output={tmp_path}/log"]
    typed += [str(PROJECT / "slurm" / "job.sbatch"), "benchmark=digits", "seed=3"]
    typed += [*EASY, f"data.root={digits}", f"run_root={tmp_path}/runs", "clear_cache=fadvise"]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"  # where the script finds python3
    done = cluster.run(*typed, **environment(PATH=path))
    assert done.returncode == 0, done.stderr
    state = cluster.wait(done.stdout.strip())
    log = (tmp_path / "log").read_text()
    assert state == "COMPLETED", log
    assert sizes(tmp_path) == [(2, 2, "success")]
    assert [one["seed"] for one in summaries(tmp_path)] == [3]
    assert log.count("time to train") == 1
    assert "TTT_KEY" not in log


@pytest.mark.parametrize("mode", ["task", "agent"])
def test_a_job_on_one_node_listens_there_alone_and_keeps_its_key(
    start: Start, cluster: Cluster, tmp_path: Path, mode: str
):
    process = start(f"launcher.mode={mode}", "launcher.procs=2", *ENDLESS)
    folder = until_training(tmp_path, process)
    ranks = [worker(tmp_path, rank) for rank in range(2)]
    [secret] = {one.environ()["TTT_KEY"] for one in ranks}
    assert len(secret) == 64
    there = cluster.processes()
    assert set(ranks) <= there
    shown = [" ".join(one.cmdline()) for one in psutil.process_iter() if one in there]
    assert not any(secret in words for words in shown)
    ours = [one for one in there if str(folder) in " ".join(one.cmdline())]
    ours = [one for one in ours if not one.name().startswith(("srun", "slurm"))]
    open_at = [
        each.laddr.ip
        for one in ours
        for each in one.net_connections()
        if each.status == psutil.CONN_LISTEN
    ]
    assert len(open_at) >= 3  # the store, and gloo in each
    assert [ip for ip in open_at if not ip_address(ip).is_loopback] == []
    process.send_signal(signal.SIGINT)
    ended(process)
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert folder.parent / "job.sbatch" in files
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def around(cluster: Cluster, folder: Path) -> tuple[str, dict[str, str]]:
    """A task of a job array that sleeps, and what a shell inside it passes on."""
    file = folder / "outer"
    wrapped = f"--wrap=env -0 >{file}.tmp; mv {file}.tmp {file}; sleep 600"
    asked = ["sbatch", "--parsable", "--array=3", "--cpus-per-task=2", "--mem=300", wrapped]
    number = cluster.run(*asked, f"--output={folder}/outer.log").stdout.strip()
    while not file.exists():
        time.sleep(0.1)
    words = (line.partition("=") for line in file.read_text().split("\0"))
    there = {name: value for name, _, value in words if name.startswith("SLURM")}
    assert there["SLURM_ARRAY_TASK_ID"] == "3"
    return number, {name: there[name] for name in there if name not in cluster.environment}


@pytest.mark.parametrize("mode", ["task", "agent"])
def test_a_job_told_to_make_room_goes_on_after_a_requeue(
    start: Start, cluster: Cluster, tmp_path: Path, mode: str
):
    """The wish comes by scancel or through ttt run; one is submitted from inside another job."""
    outer, inside = around(cluster, tmp_path) if mode == "task" else ("", {})
    if inside:
        inside |= {"SBATCH_PARTITION": "long", "SBATCH_TIMELIMIT": "1", "SBATCH_REQUEUE": "0"}
    slow = [
        "task._target_=outside_parts.Slow",
        *TINY,
        "target.threshold=1.0",
        "target.max_epochs=8",
    ]
    asked = ["launcher.partition=debug", "launcher.time=8"]
    process = start(*slow, *asked, f"launcher.mode={mode}", **inside)
    run = until_training(tmp_path, process)
    number = number_of(run)
    job = cluster.job(number)
    assert (job["Partition"], job["TimeLimit"], job["Requeue"]) == ("debug", "00:08:00", "1")
    if mode == "task":
        cluster.run("scancel", "--signal=USR1", number)
    else:
        process.send_signal(signal.SIGUSR1)
    code, out, errors = ended(process)
    assert code == 3, out + errors
    if outer:
        job = cluster.job(outer)
        assert (job["JobState"], job["Restarts"]) == ("RUNNING", "0")
        assert "ArrayTaskId" not in cluster.job(number)
    assert f"job {number} is back in the queue" in out
    assert re.search(r"job \d+ is running on n\d, requeued 1 x", errors)
    assert "target.max_epochs=8" in out
    assert "Traceback" not in out + errors
    at = {}
    for kind in ("run_start", "suspended", "resumed", "run_stop"):
        [event] = events(run, kind)
        at[kind] = event["time"]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["elapsed_s"] == at["run_stop"] - at["run_start"]  # it was never paused
    assert summary["lost_s"] == pytest.approx(at["resumed"] - at["suspended"], abs=0.1)
    assert summary["resumed"] == 1


def until_saved(run: Path, process: subprocess.Popen[str], resumed: int) -> None:
    """Wait for a checkpoint of the processes that went on for the n-th time."""
    deadline = time.monotonic() + HUNG
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        kinds = [event["kind"] for event in events(run, whole=False)]
        if kinds.count("resumed") == resumed and "checkpoint" in _since_resumed(kinds):
            return
        time.sleep(0.05)
    raise AssertionError(f"no checkpoint after {resumed} resumptions")


def _since_resumed(kinds: list[str]) -> list[str]:
    return kinds[len(kinds) - kinds[::-1].index("resumed") :] if "resumed" in kinds else kinds


def test_a_lost_allocation_costs_what_was_not_saved(start: Start, cluster: Cluster, tmp_path: Path):
    """Requeued in the middle, then a node without power: the qualities of a run never cut."""
    same = [*TINY, "seed=4", "target.threshold=1.0", "target.max_epochs=10"]
    same += ["launcher.nodes=2", "launcher.procs=1"]
    slow = ["task._target_=outside_parts.Slow", "checkpoint_every_seconds=0.3"]
    uncut = start(*same, root=tmp_path / "uncut")  # on the other two nodes
    process = start(*same, *slow)
    run = until_training(tmp_path, process)
    number = number_of(run)
    until_saved(run, process, 0)
    assert cluster.run("scontrol", "requeue", number).returncode == 0
    until_saved(run, process, 1)
    named = cluster.run("scontrol", "show", "hostnames", cluster.job(number)["NodeList"])
    _, second = named.stdout.split()
    cluster.kill_node(second, power=True)
    try:
        code, out, errors = ended(process)
    finally:
        cluster.revive_node(second)
    assert code == 3, out + errors
    assert "Traceback" not in out + errors
    [started], [stopped] = events(run, "run_start"), events(run, "run_stop")
    suspended, resumed = events(run, "suspended"), events(run, "resumed")
    reasons = ["stopped by SIGTERM", "another process of the run is gone"]
    assert [event["data"]["reason"] for event in suspended] == reasons
    saved = events(run, "checkpoint")
    assert all(event["step"] > 0 for event in resumed)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["elapsed_s"] == stopped["time"] - started["time"]
    known = summary["train_s"] + summary["eval_s"] + summary["lost_s"]
    # Every second counts once; between the spans a busy machine takes some more.
    assert -0.5 < summary["elapsed_s"] - known < 2
    assert (summary["resumed"], summary["checkpoints"]) == (2, len(saved))
    assert not (run / "checkpoint").exists()

    assert ended(uncut)[0] == 3
    [whole] = tmp_path.glob("uncut/runs/*/*/seed_4")
    expected = {one["data"]["epoch"]: one["data"]["value"] for one in events(whole, "quality")}
    found = {one["data"]["epoch"]: one["data"]["value"] for one in events(run, "quality")}
    assert found == expected
    assert len(expected) == 10


@pytest.mark.parametrize("fault", CLUSTER_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_the_cluster_is_told(
    cluster: Cluster, tmp_path: Path, digits: Path, warm_python: Path, fault: ClusterFault
):
    met = meet_on(cluster, fault, tmp_path, digits, f"launcher.python={warm_python}")
    assert met.exit_code == fault.exit_code, met.said
    assert re.search(fault.says, met.said), met.said
    assert "Traceback" not in met.said
    assert met.left == []
    if not fault.do:
        return
    last = met.events[-1]
    assert last["kind"] == fault.ends
    assert "stopped by SIGTERM" in last["data"]["reason"] or "is gone" in last["data"]["reason"]


def test_a_user_who_waits_no_longer_takes_the_job_along(start: Start, cluster: Cluster):
    process = start("launcher.lines=['--hold']")
    assert process.stderr is not None
    assert "is pending (JobHeldUser)" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    code, out, errors = ended(process)
    assert code == 130
    assert re.search(r"job \d+ is cancelled\nttt: stopped by SIGINT", errors)
    [number] = re.findall(r"submitted job (\d+)", out)
    assert cluster.wait(number) == "CANCELLED"


@pytest.mark.parametrize(("mode", "processes"), [("task", 4), ("agent", 2)])
def test_no_gpu_of_the_node_is_hidden_from_a_process(
    start: Start, tmp_path: Path, mode: str, processes: int
):
    look = tmp_path / "python"  # stands in for the worker, and for torchrun
    look.write_text(
        "#!/bin/bash\necho sees $CUDA_VISIBLE_DEVICES, threads $OMP_NUM_THREADS\n"
        """echo '{"status": "success"}' >"${@: -1}/summary.json"\n"""
    )
    look.chmod(0o755)
    asked = [f"launcher.mode={mode}", f"launcher.python={look}", "launcher.cpus_per_task=3"]
    asked += [
        "launcher.nodes=2",
        "launcher.gpus_per_node=2",
        "launcher.lines=['--gpu-bind=single:1']",
    ]
    code, out, errors = ended(start(*asked, OMP_NUM_THREADS=""))
    assert code == 0, out + errors
    assert out.count("sees 0,1, threads 3") == processes


def test_doctor_examines_an_allocation(cluster: Cluster, tmp_path: Path, digits: Path):
    typed = ["srun", "-N2", "--ntasks-per-node=1", sys.executable, "-m", "ttt", "doctor"]
    typed += [f"data.root={digits}", f"run_root={tmp_path}/runs", "--json", f"{tmp_path}/doctor"]
    done = cluster.run(*typed, **environment())
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "doctor").read_text())
    assert (report["ranks"], report["nodes"], report["ok"]) == (2, 2, True)
    named = {finding["name"] for finding in report["findings"]}
    assert {"launch", "clocks", "run_root", "data set"} <= named
    assert "all-reduce" in done.stdout


def test_a_rank_that_fails_is_told_once(start: Start, tmp_path: Path):
    fault = {"FAULT": "raise", "FAULT_AT": "train", "FAULT_MARK": str(tmp_path / "mark")}
    process = start(*ENDLESS, "launcher.mode=agent", "task._target_=outside_parts.Trouble", **fault)
    code, out, errors = ended(process)
    assert code == 5, out + errors
    assert (out + errors).count("ZeroDivisionError: the defect of rank 1") == 1
    assert (out + errors).count("Traceback") == 1  # its own; torchrun's is in its log
    assert re.search(r"rank 1 on \S+ failed, see above", errors)


@pytest.mark.parametrize("mode", ["task", "agent"])
def test_a_process_killed_on_a_living_node_ends_the_job_and_is_named(
    start: Start, tmp_path: Path, mode: str
):
    """It would be killed again; the run can go on, and who waits learns how."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    asked = (f"launcher.mode={mode}", "launcher.nodes=2", "launcher.procs=1", *ENDLESS)
    process = start(*asked, TMPDIR=str(scratch))
    run = until_training(tmp_path, process)
    worker(tmp_path, 1).kill()
    code, out, errors = ended(process)
    assert code == 5, out + errors
    assert "requeued" not in errors
    assert "back in the queue" not in out
    assert "run_stop" not in (run / "events.jsonl").read_text()
    killed = r"rank 1( on \S+)? was ended by SIGKILL"  # torchrun may not know the host
    goes_on = r"sbatch \S+/job.sbatch goes on with it$"
    assert re.search(rf"is suspended: .*: {killed}.*; {goes_on}", errors.rstrip())
    assert re.search(killed, str(find([run]).runs[0].reason))
    (run / "logs" / "launcher.failure.json").unlink()  # as without launcher.wait
    assert re.search(killed, str(find([run]).runs[0].reason))
    assert list(scratch.iterdir()) == []


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
    ended_with, out, errors = ended(start(override, "launcher.procs=1"))
    assert (ended_with, out) == (code, "")
    assert said in errors
    assert "Traceback" not in errors
    assert list(tmp_path.glob("runs/*/*")) == []
