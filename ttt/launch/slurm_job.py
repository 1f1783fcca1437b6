"""A job that was submitted: what SLURM says of it, and what it writes into its log.

Asks by `scontrol show job`, which slurmctld answers from memory on any cluster, with or without an
accounting database. Knows nothing of runs.
"""

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ttt.signals import preemption_requested

# `man squeue`, JOB STATE CODES: those after which a job does nothing more by itself.
ENDED = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED REVOKED"
    " TIMEOUT".split()
)
_LOG_SECONDS = 0.25  # between looks at the log
_ASK_SECONDS = (0.5, 10.0)  # between questions to slurmctld, at least and at most
_ASK_SHARE = 0.05  # of the time waited so far: the end is reported at most this much late


@dataclass(frozen=True, slots=True)
class State:
    """What SLURM says of one job, or of one task of a job array.

    Attributes:
        name: PENDING, RUNNING, ... in SLURM's own words.
        reason: Why it waits or how it ended; "None" if there is nothing to say.
        restarts: How often it went back to the queue.
        nodes: Where it runs, as n[1-4]; "(null)" while it does not.
        exit_code: Of the batch script, as CODE:SIGNAL.
    """

    name: str
    reason: str
    restarts: int
    nodes: str
    exit_code: str

    def __str__(self) -> str:
        """For a person who waits."""
        again = f", requeued {self.restarts} x" if self.restarts else ""
        if self.name == "RUNNING":
            return f"running on {self.nodes}{again}"
        why = "" if self.reason == "None" else f" ({self.reason})"
        return f"{self.name.lower()}{why}{again}"


# What SLURM says where it has no cluster to ask: what that means, and what to do about it.
_NO_CLUSTER = {
    "configuration source": (
        "sbatch is here, but no cluster: SLURM finds no slurm.conf",
        "type this on a login node of the cluster, or SLURM_CONF=FILE before it",
    ),
    "contact slurm controller": (
        "the controller of the cluster (slurmctld) does not answer",
        "type this again when `scontrol ping` says that it is up",
    ),
    "munge": (
        "SLURM cannot tell who you are: munged does not answer on this machine",
        "start munge, or type this on a login node of the cluster",
    ),
}


def refused(told: str) -> str:
    """Why a job was not submitted, as a sentence where there is no cluster.

    Args:
        told: What sbatch printed; any other refusal is in its own words.
    """
    last = told.rpartition("\n")[2].removeprefix("sbatch: ")
    for words, (why, typed) in _NO_CLUSTER.items():
        if words in told.lower():
            here = "launcher=torchrun to train on this machine"
            return f"{why} (in its words: {last}); {typed}; or {here}"
    return told


class Unanswered(Exception):
    """SLURM could not be asked; in its own words."""


def look(number: str) -> list[State]:
    """The state of a job, or of each task of a job array; empty once SLURM has forgotten it.

    Raises:
        Unanswered: slurmctld does not answer.
    """
    command = ["scontrol", "--oneliner", "show", "job", number]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    if asked.returncode and "Invalid job id" not in asked.stderr:
        raise Unanswered(asked.stderr.strip())
    return parse(asked.stdout)


def parse(shown: str) -> list[State]:
    """What `scontrol --oneliner show job` printed, a line for each job or array task."""
    states = []
    for line in shown.splitlines():
        fields = dict(re.findall(r"(?:^| )(\w+)=(\S*)", line))
        states.append(
            State(
                name=fields["JobState"],
                reason=fields["Reason"],
                restarts=int(fields["Restarts"]),
                nodes=fields["NodeList"],
                exit_code=fields["ExitCode"],
            )
        )
    return states


def follow(
    number: str, log: "Log", tell: Callable[[str], None], make_room: Callable[[str], None]
) -> list[State]:
    """Show a job's log, and tell what becomes of the job, until it is over.

    Args:
        number: The job.
        log: Its log, not there before it runs.
        tell: Takes a sentence for the person who waits.
        make_room: Called with the job once it runs, if this process is asked to make room.

    Returns:
        The last states; empty if SLURM has forgotten the job.
    """
    began = time.monotonic()
    ask_at, shown, asked = began, "", False
    states: list[State] = []
    while True:
        now = time.monotonic()
        if now >= ask_at:
            shortest, longest = _ASK_SECONDS
            ask_at = now + min(longest, max(shortest, _ASK_SHARE * (now - began)))
            try:
                states = look(number)
            except Unanswered as error:
                sentence, over = f"SLURM does not answer ({error}); waiting on", False
            else:
                sentence, over = f"job {number} is {described(states)}", ended(states)
            log.show(to_the_end=over)
            if over:
                return states
            if sentence != shown:
                tell(shown := sentence)
        log.show()
        if (
            preemption_requested()
            and not asked
            and any(state.name == "RUNNING" for state in states)
        ):
            asked = True
            make_room(number)
        time.sleep(_LOG_SECONDS)


def ended(states: Sequence[State]) -> bool:
    """Whether nothing of the job will run any more, as far as SLURM knows it."""
    return all(state.name in ENDED for state in states)


def described(states: Sequence[State]) -> str:
    """All states of a job in a few words."""
    counts = Counter(map(str, states))
    return ", ".join(f"{n} x {words}" if n > 1 else words for words, n in counts.items())


class Log:
    """The log of a job as it grows, or one for each task of an array.

    Args:
        folder: Where it is.
        pattern: Its name; of several, each line begins with what stands behind the last _.
        out: Where to show it.
    """

    def __init__(self, folder: Path, pattern: str, out: BinaryIO) -> None:
        self._folder = folder
        self._pattern = pattern
        self._out = out
        self._shown: dict[Path, int] = {}  # bytes

    def show(self, *, to_the_end: bool = False) -> None:
        """Show the lines that are new; one that is not whole yet only at the end."""
        for path in sorted(self._folder.glob(self._pattern)):
            with path.open("rb") as file:
                file.seek(self._shown.get(path, 0))
                text = file.read()
            whole = text if to_the_end else text[: text.rfind(b"\n") + 1]
            self._shown[path] = self._shown.get(path, 0) + len(whole)
            mark = f"{path.stem.rpartition('_')[2]}: " if "_" in self._pattern else ""
            for line in whole.splitlines(keepends=True):
                self._out.write(mark.encode() + line)
        self._out.flush()
