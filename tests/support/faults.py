"""What may go wrong in a run, how to make it go wrong, and what the user is then told.

    PYTHONPATH=. python tests/support/faults.py           the table of docs/faults.md, measured
    PYTHONPATH=. python tests/support/faults.py --slurm   and its rows about a cluster of its own

The tests go through the same lists.
"""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ground import HUNG
from processes import ENDLESS, TWO, begin, end_all, events, until_there, until_training, worker
from slurm_testbed import Cluster

PATIENCE = 4  # seconds without a sign of life; 300 by default
IMPATIENT = (f"timeout.step_seconds={PATIENCE}",)


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong in a run of two ranks.

    Attributes:
        name: What.
        exit_code: What `ttt run` ends with.
        says: What its user is told, a regular expression.
        do: Makes it happen, given the folder that holds `runs` and the run folder; None where rank
            1 does it by itself.
        at: The phase rank 1 waits in for that, or gets into trouble in; "" for any time.
        trouble: What rank 1 does there.
        stopped: The status of run_stop in the record; "" for none, None where there is no record.
        arguments: More arguments of `ttt run`.
    """

    name: str
    exit_code: int
    says: str
    do: Callable[[Path, Path], None] | None = None
    at: str = ""
    trouble: str = "hang"
    stopped: str | None = "aborted"
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Met:
    """What became of a run with a fault.

    Attributes:
        exit_code: Of `ttt run`.
        seconds: From the fault to the end of `ttt run`.
        said: What it told the user.
        events: The record; [] without any.
        left: Processes that survived it; killed by now.
    """

    exit_code: int
    seconds: float
    said: str
    events: list[dict[str, Any]]
    left: list[str]


def send(number: signal.Signals, rank: int) -> Callable[[Path, Path], None]:
    """Something to do: send a rank a signal."""
    return lambda root, folder: worker(root, rank).send_signal(number)


def fill(root: Path, folder: Path) -> None:
    """Leave no space on the file system of the run folders."""
    with contextlib.suppress(OSError), (root / "runs" / "filling").open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()


FAULTS = [
    Fault(
        "a rank is killed while it initialises",
        5,
        r"rank 1 on \S+ was ended by SIGKILL \(by a user, or .*: see dmesg\)",
        do=send(signal.SIGKILL, 1),
        at="init",
        stopped="",
    ),
    Fault(
        "a rank is killed while it trains",
        5,
        r"rank 1 on \S+ was ended by SIGKILL \(by a user, or .*: see dmesg\)",
        do=send(signal.SIGKILL, 1),
        at="train",
    ),
    Fault(
        "a rank is killed while it evaluates",
        5,
        r"rank 1 on \S+ was ended by SIGKILL \(by a user, or .*: see dmesg\)",
        do=send(signal.SIGKILL, 1),
        at="eval",
    ),
    Fault(
        "rank 0 is killed while it trains",
        5,
        r"rank 0 on \S+ was ended by SIGKILL \(by a user, or .*: see dmesg\)",
        do=send(signal.SIGKILL, 0),
        stopped="",
    ),
    Fault(
        "a rank is asked to stop (SIGTERM)",
        5,
        r"rank 1 on \S+ was stopped by SIGTERM",
        do=send(signal.SIGTERM, 1),
        at="train",
    ),
    Fault(
        "a rank is stopped (SIGSTOP)",
        5,
        r"rank 1 on \S+: gives no sign of life for \d+ s .*, last seen .* at step \d+",
        do=send(signal.SIGSTOP, 1),
        arguments=IMPATIENT,
    ),
    Fault(
        "a rank hangs",
        5,
        r"rank 1 on \S+: is stuck for \d+ s training at step 7, in _trouble \(outside/\S+\)",
        at="train",
        arguments=IMPATIENT,
    ),
    Fault(
        "a rank raises", 5, "ZeroDivisionError: the defect of rank 1", at="train", trouble="raise"
    ),
    Fault(
        "a rank runs out of memory",
        5,
        r"rank 1 on \S+: out of memory: .*; a smaller data.global_batch, accumulate=2 or",
        at="train",
        trouble="memory",
    ),
    Fault(
        "the run folder's disk is full",
        5,
        r"rank 0 on \S+: .*events.jsonl cannot be written: No space left on device",
        do=fill,
        stopped="",
    ),
    Fault(
        "the run folder is removed",
        5,
        r"seed_1 was removed while the run was going on",
        do=lambda root, folder: shutil.rmtree(folder),
        stopped=None,
    ),
]


@dataclass(frozen=True)
class ClusterFault:
    """One thing that goes wrong with `launcher=slurm` on two nodes, a rank on each.

    Attributes:
        name: What.
        exit_code: What `ttt run` ends with.
        says: What its user is told, a regular expression.
        do: Makes it happen to a job; None where it is wrong from the start.
        arguments: More arguments of `ttt run`.
        path: Where it looks for programs; None for everywhere.
        ends: The last event of the record; with launcher.requeue=true, SIGTERM does not end a run.
    """

    name: str
    exit_code: int
    says: str
    do: Callable[[Cluster, str], object] | None = None
    arguments: tuple[str, ...] = ()
    path: str | None = None
    ends: str = "run_stop"


CLUSTER_FAULTS = [
    ClusterFault(
        "a node's slurmd dies",
        5,
        "was aborted: stopped by SIGTERM",
        do=lambda cluster, job: cluster.kill_node("n2"),
        arguments=("launcher.requeue=false",),
    ),
    ClusterFault(
        "a node loses its power",
        5,
        "was aborted: another process of the run is gone",
        do=lambda cluster, job: cluster.kill_node("n2", power=True),
        arguments=("launcher.requeue=false",),
    ),
    ClusterFault(
        "the job is cancelled",
        5,
        r"it was cancelled \(scancel\)",
        do=lambda cluster, job: cluster.run("scancel", job),
        ends="suspended",
    ),
    ClusterFault(
        "the job's time is over",
        5,
        "its time limit passed; launcher.time=MINUTES",
        do=lambda cluster, job: cluster.run("scontrol", "update", f"JobId={job}", "EndTime=now+1"),
        ends="suspended",
    ),
    ClusterFault(
        "there is no such partition",
        2,
        "launcher.partition=gpu: gpu is not a partition here; allowed: debug, long",
        arguments=("launcher.partition=gpu",),
    ),
    ClusterFault(
        "there is no sbatch",
        2,
        r"sbatch is not on the PATH of \S+; type this where jobs are submitted",
        path="/nowhere",
    ),
]


def meet_on(cluster: Cluster, fault: ClusterFault, root: Path, digits: Path, *typed: str) -> Met:
    """Run into a fault on a cluster, which is whole again afterwards.

    Args:
        cluster: The cluster.
        fault: Which.
        root: An empty folder.
        digits: The data set.
        typed: More arguments of `ttt run`.
    """
    asked = ("launcher=slurm", "launcher.nodes=2", "launcher.procs=1", "launcher.wait=true")
    path = {} if fault.path is None else {"PATH": fault.path}
    began = time.time()
    process = begin(
        root,
        *(f"data.root={digits}", *ENDLESS),
        *asked,
        *fault.arguments,
        *typed,
        **cluster.environment,
        **path,
    )
    record = []
    if fault.do:
        folder = until_training(root, process)
        [log] = folder.parent.glob("slurm-*.out")
        began = time.time()
        fault.do(cluster, log.stem.removeprefix("slurm-"))
    _, said = process.communicate(timeout=HUNG)
    seconds = time.time() - began
    cluster.run("scancel", "--me")
    cluster.revive_node("n2") if "node" in fault.name else None
    while cluster.run("squeue", "--noheader").stdout:
        time.sleep(0.1)
    if fault.do:
        record = events(folder)
    return Met(process.returncode, seconds, said, record, end_all(root))


def meet(fault: Fault, root: Path, digits: Path) -> Met:
    """Run into a fault.

    Args:
        fault: Which.
        root: An empty folder.
        digits: The data set.
    """
    mark = root / "mark"
    with _disk(root / "runs") if fault.do is fill else contextlib.nullcontext():
        process = begin(
            root,
            f"data.root={digits}",
            *ENDLESS,
            *TWO,
            "task._target_=outside_parts.Trouble",
            *fault.arguments,
            FAULT=fault.trouble,
            FAULT_AT=fault.at or "never",
            FAULT_MARK=str(mark),
        )
        if fault.at:
            until_there(mark, process)
            began = mark.stat().st_mtime
            [folder] = root.glob("runs/*/*/seed_1")
        else:
            folder, began = until_training(root, process), time.time()
        if fault.do:
            began = time.time()
            fault.do(root, folder)
        _, said = process.communicate(timeout=HUNG)
        seconds = time.time() - began
        left = end_all(root)
        record = events(folder, whole=fault.do is not fill) if folder.is_dir() else []
    return Met(process.returncode, seconds, said, record, left)


@contextlib.contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """A file system of its own, of a megabyte."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "ttt-test", str(folder)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def rows(digits: Path, folder: Path) -> Iterator[tuple[str, str, Met]]:
    """Name, expected words and outcome of every fault."""
    if "--slurm" in sys.argv:
        with Cluster(folder / "cluster") as cluster:
            for number, fault in enumerate(CLUSTER_FAULTS):
                root = folder / str(number)
                yield fault.name, fault.says, meet_on(cluster, fault, root, digits)
        return
    for number, fault in enumerate(FAULTS):
        root = folder / str(number)
        root.mkdir()
        yield fault.name, fault.says, meet(fault, root, digits)


def main() -> None:
    """Meet all of them and print the table."""
    from ttt.prepare.digits import prepare

    print("| fault | exit code | seen after | what the user sees |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder / "digits")
        for fault, says, met in rows(folder / "digits", folder):
            found = re.search(says, met.said)
            words = found[0] if found else f"UNEXPECTED: {met.said}"
            sentence = re.sub(r"\S*/runs/", "runs/", re.sub(r"\s+", " ", words))
            print(f"| {fault} | {met.exit_code} | {met.seconds:.1f} s | `{sentence}` |", flush=True)
            assert met.left == [], met.left


if __name__ == "__main__":
    main()
