"""What every launcher is given, and how it learns what became of it."""

import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ttt.errors import LAUNCH_FAILED, NOT_REACHED, OK, SUSPENDED, LaunchError
from ttt.run_folder import RunFolder
from ttt.supervise import deaths, failure


@dataclass(frozen=True, slots=True)
class Job:
    """One launch: run folders, frozen and ready, to be run one after the other.

    Attributes:
        runs: The folders, all in the folder of the launch.
        benchmark: The benchmark's id.
    """

    runs: tuple[Path, ...]
    benchmark: str


class Launcher(Protocol):
    """Turns run folders into processes."""

    on_every_node: bool  # typed on each node, which then `join`s instead of launching
    remote: bool  # the processes run on other machines: what this one has says nothing of them

    def processes(self) -> int:
        """How many processes each run will have, over all nodes."""

    def problems(self) -> list[str]:
        """What is wrong with the request on this machine, a sentence each."""

    def launch(self, job: Job) -> int | None:
        """Run everything; the exit code for the user, None where it is only submitted."""

    def to_go_on(self, folder: Path) -> str:
        """What a person types to go on with a run that is suspended."""

    def join(self, arguments: Sequence[str], seconds: float) -> int:
        """Take part, as one of several nodes, in a run whose folder rank 0 will make.

        Args:
            arguments: What was typed after `ttt run`.
            seconds: How long nodes wait for each other.
        """


def one_by_one(job: Job, run: Callable[[Path], str]) -> int:
    """Run the folders of a launch one after the other; the exit code of them all.

    Args:
        job: The launch.
        run: Runs one folder, and says how its program ended, for a run that does not say it itself.

    Raises:
        LaunchError: A run did not finish; the text is that of the rank that failed first.
    """
    codes = []
    for folder in job.runs:
        ended = run(folder)
        code = outcome(folder)
        if code is None:
            raise explain(folder, ended)
        codes.append(code)
        if code == SUSPENDED:  # room is wanted, not the next run
            break
    return worst(codes)


def outcome(folder: Path) -> int | None:
    """The exit code a finished run asks for; None if it did not finish."""
    run = RunFolder(folder)
    if run.suspended.exists():
        return SUSPENDED
    summary, failures = run.summary, failure.read(run.logs)
    if failures or not summary.is_file():
        return None
    return OK if json.loads(summary.read_text())["status"] == "success" else NOT_REACHED


def stopped(folder: Path) -> str | None:
    """Why a run was aborted, in the words of its own record; None if it does not say."""
    summary = RunFolder(folder).summary
    return str(json.loads(summary.read_text())["reason"]) if summary.is_file() else None


def suspended(folders: Sequence[Path]) -> Path | None:
    """The run of a launch that waits to go on, if one does."""
    return next((folder for folder in folders if RunFolder(folder).suspended.exists()), None)


def lost(folder: Path) -> str | None:
    """Why a run is suspended that was not asked to make room; None if it is not."""
    marker = RunFolder(folder).suspended
    return (marker.read_text().strip() or None) if marker.is_file() else None


def explain(folder: Path, otherwise: str) -> LaunchError:
    """Why a run did not finish, in the words of the rank that failed first.

    Args:
        folder: The run's folder.
        otherwise: What to say if no rank left a reason, and the launcher's log names no rank.
    """
    if not folder.is_dir():
        return LaunchError(f"{folder} was removed while the run was going on")
    logs = RunFolder(folder).logs
    failures = failure.read(logs)
    if not failures or not failures[0].primary:
        words = [(one.rank, one.host, one.text) for one in failures]
        text = deaths.cause(logs, words, socket.gethostname()) or otherwise
        failure.write_by_launcher(text, logs)
        return LaunchError(f"{text}\nlogs: {logs}")
    first = failures[0]
    error = LaunchError(f"rank {first.rank} on {first.host}: {first.text.rstrip()}")
    error.exit_code = first.exit_code
    return error


def last_words(program: str, log: Path, status: int) -> str:
    """The last output of a program that starts the ranks, if it does not name one of them.

    Args:
        program: Its name.
        log: What it printed as errors.
        status: Its exit code; negative if a signal ended it.
    """
    printed = log.read_text(errors="replace").split("\n") if log.exists() else []
    lines = [line.rstrip() for line in printed if line.strip()][-15:]
    death = str(deaths.Death(program, socket.gethostname(), status))
    if not lines or status < 0:
        return death
    return "\n".join([f"{program} failed: {lines[-1].strip()}", *lines[:-1]])


def worst(codes: list[int]) -> int:
    """One exit code for several runs: every target reached, or not every one."""
    return max(codes, default=LAUNCH_FAILED)
