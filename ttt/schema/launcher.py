"""How processes are started: the settings of each launcher, and what is wrong with them.

Only what can be judged without looking at a machine or a cluster; the launchers do the rest.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from ttt.errors import fault
from ttt.schema.rules import not_positive

# `man sbatch`, --time: "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours",
# "days-hours:minutes" and "days-hours:minutes:seconds".
_MINUTES_FIRST = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+)")
_DAYS_FIRST = re.compile(r"(\d+)-(\d+)(?::(\d+))?(?::(\d+))?")
_GPUS = re.compile(r"(?:[\w.-]+:)?[1-9]\d*")
_SIGNALS = ("USR1", "USR2")  # a worker has an answer to these
_EARLY_SECONDS = 60  # by which SLURM may send a signal too early (`man sbatch`, --signal)


class Mode(StrEnum):
    """What srun starts: every process, or one torchrun on each node."""

    task = "task"
    agent = "agent"


@dataclass
class LocalConfig:
    """One process."""

    _target_: str = "ttt.launch.local.Local"


@dataclass
class TorchrunConfig:
    """One process a GPU, or `procs` on a CPU, by torchrun."""

    _target_: str = "ttt.launch.torchrun.Torchrun"
    procs: int | None = None  # per node; null: every visible GPU, without one 2
    nodes: int = 1
    rdzv_endpoint: str | None = None  # HOST:PORT, needed with several nodes


@dataclass
class MpiConfig:
    """One process a GPU, or `procs` on a CPU, by mpirun."""

    _target_: str = "ttt.launch.mpi.Mpi"
    procs: int | None = None  # per node; null: every visible GPU, without one 2
    nodes: int = 1  # of the hostfile, or of the allocation this is typed in
    hostfile: str | None = None  # null: this machine, or the allocation
    mpirun: str | None = None  # null: the one beside this Python, else the first on the PATH
    arguments: list[str] = field(default_factory=list)  # more of mpirun's, as [--mca, NAME, VALUE]


@dataclass
class SlurmConfig:
    """A job of SLURM's; see `ttt.launch.slurm` and `slurm/job.sbatch`."""

    _target_: str = "ttt.launch.slurm.Slurm"
    nodes: int = 1  # of the job
    procs: int | None = None  # per node; null: gpus_per_node, without it 2
    gpus_per_node: str | None = None  # 8, or with a type a100:8; null: none are asked for
    mode: Mode = Mode.task
    partition: str | None = None  # as sbatch takes it; null: the cluster's default
    account: str | None = None  # as sbatch takes it
    qos: str | None = None  # as sbatch takes it
    time: str | None = None  # as sbatch takes it: 90 and 1:30:00 are the same; null: partition's
    constraint: str | None = None  # as sbatch takes it
    exclusive: bool = False  # share the nodes with no other job
    cpus_per_task: int | None = None  # per process, in either mode; null: one
    mem: str | None = None  # per node, as sbatch takes it: 16G; 0 is all of it
    array: bool = False  # the runs are tasks of a job array, side by side, not one after the other
    lines: list[str] = field(default_factory=list)  # more sbatch options: ['--mail-type=END']
    setup: list[str] = field(default_factory=list)  # shell lines: ['module load cuda']
    python: str | None = None  # null: the one that runs ttt; in a container: python3
    container_image: str | None = None  # for pyxis; data.root is then a path in the container
    container_mounts: list[str] = field(default_factory=list)  # SRC:DST; the run folders are added
    srun: list[str] = field(default_factory=list)  # more srun arguments; they win over ours
    wait: bool = False  # follow the job until it is over
    dry_run: bool = False  # print the script, submit nothing
    requeue: bool = True  # after a checkpoint asked for by `signal`, or when a node or job is lost
    signal: str = "USR1"  # asks the processes for a checkpoint
    signal_seconds: int | None = 120  # before the time limit; null: none is sent

    @property
    def gpus(self) -> int | None:
        """GPUs of a node, without their type; None if none, or no number of them, is asked for."""
        count = str(self.gpus_per_node or "").rpartition(":")[2]
        return int(count) if count.isdigit() else None

    def problems(self) -> Iterator[str]:
        """What is wrong with the request, wherever it is going to run."""
        if self.gpus_per_node is not None and not _GPUS.fullmatch(str(self.gpus_per_node)):
            allowed = "a number above 0, or TYPE:NUMBER"
            yield fault("launcher.gpus_per_node", self.gpus_per_node, allowed=allowed, typed="8")
        counts = "nodes procs cpus_per_task signal_seconds"
        yield from not_positive("launcher", self, counts)
        yield from self._time_problems()
        if self.mem is not None and not re.fullmatch(r"\d+[KMGT]?", self.mem):
            allowed = "a number with K, M, G or T, and 0 for all of a node"
            yield fault("launcher.mem", self.mem, "is not a size", allowed=allowed, typed="16G")
        if self.signal not in _SIGNALS:
            why, allowed = "is not one that a process answers to", ", ".join(_SIGNALS)
            yield fault("launcher.signal", self.signal, why, allowed=allowed, typed="USR1")
        for line in self.lines:
            if not (line.startswith("-") and _closed(line)):
                yield (
                    f"launcher.lines: {line!r} is not an option of sbatch; allowed: what begins"
                    " with -, each quote with its other; \"launcher.lines=['--mail-type=END']\""
                )
        if self.container_mounts and self.container_image is None:
            why = "has no effect without launcher.container_image=IMAGE"
            yield fault("launcher.container_mounts", self.container_mounts, why)

    def _time_problems(self) -> Iterator[str]:
        if self.time is None:
            return
        seconds = limit_seconds(self.time)
        if seconds is None:
            allowed = (
                "MINUTES, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, DAYS-HOURS, DAYS-HOURS:MINUTES,"
                " DAYS-HOURS:MINUTES:SECONDS"
            )
            yield fault("launcher.time", self.time, "is not a time", allowed=allowed, typed="30")
        elif self.signal_seconds and 0 < seconds <= self.signal_seconds + _EARLY_SECONDS:
            yield fault(
                "launcher.time",
                self.time,
                f"is {seconds} s, and launcher.signal_seconds={self.signal_seconds} asks for a"
                f" checkpoint up to {self.signal_seconds + _EARLY_SECONDS} s before its end",
                allowed="a longer time, or an earlier end",
                typed="launcher.signal_seconds=null",
            )


def _closed(line: str) -> bool:
    """Whether every quote in it has its other."""
    try:
        shlex.split(line)
    except ValueError:
        return False
    return True


def limit_seconds(time: str) -> int | None:
    """Seconds of a time limit in one of SLURM's formats; None if it is in none. 0 is no limit."""
    if match := _MINUTES_FIRST.fullmatch(time):
        first, second, last = match.groups()
        if second is None:
            return int(last) * 60
        return int(first or 0) * 3600 + int(second) * 60 + int(last)
    if match := _DAYS_FIRST.fullmatch(time):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return days * 86400 + hours * 3600 + minutes * 60 + seconds
    return None
