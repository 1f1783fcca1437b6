"""Real runs in the background, for tests that interfere with them."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from ground import HUNG, PROJECT, command, environment
from warm import Warm

OUTSIDE = PROJECT / "tests" / "outside"
# A model that takes a tenth of the time, for tests of anything but what is trained; and a target
# that it reaches in an epoch: to guess is right in a tenth.
TINY = ("model.widths=[16]", "model.blocks=[0]")
EASY = (*TINY, "target.threshold=0.05")
ENDLESS = (*TINY, "target.threshold=1.0", "target.max_epochs=100000", "clear_cache=off")
TWO = ("launcher=torchrun", "launcher.procs=2")


def begin(root: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start `ttt run`, with its run folders below `root`, and with the parts in tests/outside."""
    return Warm(
        command("run", f"run_root={root}/runs", *arguments),
        env=environment(PYTHONPATH=f"{PROJECT}:{OUTSIDE}", **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def workers(root: Path) -> list[psutil.Process]:
    """Every living process that was started with a run folder below `root`, launchers included."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and any(str(root) in word for word in words):
            found.append(process)
    return found


def end_all(root: Path) -> list[str]:
    """Kill what is left of the runs below `root`; the command lines of what was."""
    left = workers(root)
    for process in left:
        process.kill()
    return [" ".join(process.info["cmdline"]) for process in left]


def worker(root: Path, rank: int) -> psutil.Process:
    """The process of one rank."""
    [found] = [process for process in workers(root) if _rank(process) == str(rank)]
    return found


def _rank(process: psutil.Process) -> str | None:
    """The rank of a worker; None for a launcher."""
    if [word for word in process.cmdline() if word != "-u"][1:3] != ["-m", "ttt.worker"]:
        return None
    variables = process.environ()
    return variables.get("RANK", variables.get("SLURM_PROCID", "0"))


def until_training(root: Path, process: subprocess.Popen[str]) -> Path:
    """Wait for the first steps; the run folder."""
    deadline = time.monotonic() + HUNG
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for record in root.glob("runs/*/*/*/events.jsonl"):
            if '"progress"' in record.read_text():
                return record.parent
        time.sleep(0.05)
    raise AssertionError("training did not begin")


def until_there(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait for a file."""
    deadline = time.monotonic() + HUNG
    while time.monotonic() < deadline:
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


def events(folder: Path, kind: str | None = None, *, whole: bool = True) -> list[dict[str, Any]]:
    """The record, or the events of one kind; every line must be whole, the last if `whole`."""
    text = (folder / "events.jsonl").read_text()
    lines = (text if whole else text[: text.rfind("\n") + 1]).splitlines()
    return [event for event in map(json.loads, lines) if kind in (None, event["kind"])]
