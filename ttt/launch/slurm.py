"""A job of SLURM's: a batch script rendered from the settings, submitted, and followed if asked to.

The processes start on other machines. What happens there is in `slurm/job.sbatch`; what is known
here comes from SLURM, from the job's log and from the run folders.
"""

import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ttt import modes, redact
from ttt.errors import SUSPENDED, LaunchError, fault
from ttt.launch import sbatch, slurm_job
from ttt.launch.job import Job, lost, outcome, stopped, worst
from ttt.launch.slurm_job import State
from ttt.run_folder import LaunchFolder, RunFolder
from ttt.schema.launcher import SlurmConfig, limit_seconds
from ttt.schema.rules import not_one_line
from ttt.signals import Interrupted, raising
from ttt.supervise import deaths, failure

# What to do about the way a job ended; SLURM's own words are in its log.
_REMEDIES = {
    "FAILED": "why is in its log, above",
    "CANCELLED": "it was cancelled (scancel)",
    "TIMEOUT": "its time limit passed; launcher.time=MINUTES, or launcher.requeue=true with"
    " launcher.signal_seconds=120 to go on in another job",
    "NODE_FAIL": "a node failed; `sinfo -R` says why",
    "OUT_OF_MEMORY": "launcher.mem=SIZE for more, or a smaller data.global_batch",
    "COMPLETED": "is run_root on a file system that this machine and the nodes share? run_root=DIR",
}

# Variables by which SLURM's commands find the cluster; all other SLURM_* are those of a job.
_OF_THE_CLUSTER = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_CONF_SERVER"})
_UNASKED = ("SBATCH_ARRAY_INX", "SBATCH_WAIT")  # no option takes these back


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a job may run.

    Attributes:
        name: As in launcher.partition.
        nodes: How many it has.
        time: The longest limit it allows, as sinfo writes it: 10:00, or "infinite".
        default: Whether jobs go there that name none.
    """

    name: str
    nodes: int
    time: str
    default: bool


class Slurm:
    """Implements `Launcher` with sbatch.

    Args:
        device: "auto", "cuda" or "cpu"; on the last, GPUs set no limit.
        asked: The fields of `SlurmConfig`.
    """

    on_every_node = False
    remote = True

    def __init__(self, *, device: str, **asked: Any) -> None:
        self._device = device
        self._asked = SlurmConfig(**asked)
        self._procs = sbatch.processes_per_node(self._asked)

    def processes(self) -> int:
        """Processes over all nodes."""
        return self._asked.nodes * self._procs

    def problems(self) -> list[str]:
        """Settings that cannot be, and what this cluster does not have."""
        asked, found = self._asked, list(self._asked.problems())
        found += not_one_line({"launcher.python": interpreter(asked)})
        gpus = asked.gpus
        if gpus is not None and self._procs > gpus and self._device != "cpu":
            why = f"is more than launcher.gpus_per_node={gpus}"
            typed = f"launcher.procs={gpus}, or device=cpu"
            found.append(fault("launcher.procs", self._procs, why, typed=typed))
        return found if asked.dry_run else found + cluster_problems(asked)

    def launch(self, job: Job) -> int | None:
        """Submit the job; None, or with `wait` the exit code of its runs.

        A dry run, too, leaves the run folders: the script it prints names them, and would fail
        without. `ttt report` calls such runs not started.

        Raises:
            LaunchError: SLURM refused the job, or it ended before its runs did.
        """
        folder = job.runs[0].parent
        absolute = replace(job, runs=tuple(run.absolute() for run in job.runs))
        script = sbatch.render(sbatch.template(), self._asked, absolute, interpreter(self._asked))
        if self._asked.dry_run:
            print(script, end="")
            return None
        secret = redact.holds(vars(self._asked))  # the job needs it: this file alone has it
        batch = LaunchFolder(folder).job
        modes.write(batch, script, private=secret)
        number = submit(folder, sbatch.options(self._asked, absolute))
        log = sbatch.log_name(self._asked).replace("%j", number).replace("%A", number)
        nodes, runs = self._asked.nodes, len(job.runs)
        print(f"submitted job {number}: runs {runs}, nodes {nodes}, processes {self.processes()}")
        print(f"script  {batch}")
        print(f"log     {folder / log.replace('%a', 'TASK')}", flush=True)
        if self._asked.wait:
            return self._follow(job, number, log.replace("%a", "*"))
        where, shown = shlex.quote(str(folder)), log.replace("%a", "*")
        print(f"next:   squeue -j {number}    tail -F {where}/{shown}    ttt report {where}")
        return None

    def to_go_on(self, folder: Path) -> str:
        """Never called: SLURM requeues the job, and `launch` raises where it does not."""
        raise NotImplementedError

    def join(self, arguments: Sequence[str], seconds: float) -> int:
        """Never called: one job starts the processes of all nodes."""
        raise NotImplementedError

    def _follow(self, job: Job, number: str, log: str) -> int:
        """Wait until the job is over; cancel it if this process gets a signal to stop."""
        folder = job.runs[0].parent
        with raising():
            try:
                shown = slurm_job.Log(folder, log, sys.stdout.buffer)
                states = slurm_job.follow(number, shown, _tell, self._make_room)
            except Interrupted:
                subprocess.run(["scancel", number], check=False)
                _tell(f"job {number} is cancelled")
                raise
        codes = {run: outcome(run) for run in job.runs}
        finished = [code for code in codes.values() if code is not None and code != SUSPENDED]
        if len(finished) == len(codes):
            return worst(finished)
        first = next(run for run, code in codes.items() if code in (None, SUSPENDED))
        raise unfinished(first, number, states)

    def _make_room(self, number: str) -> None:
        """Pass a request to make room on to the workers of a job, which answer to this signal."""
        subprocess.run(["scancel", f"--signal={self._asked.signal}", number], check=False)
        _tell(f"job {number} is asked to make room")


def interpreter(asked: SlurmConfig) -> str:
    """Python on the nodes: as asked, else the container's own, else the one that runs this."""
    if asked.python is not None:
        return asked.python
    return sys.executable if asked.container_image is None else "python3"


def cluster_problems(asked: SlurmConfig) -> list[str]:
    """What is wrong with submitting this from here, to the cluster that is here."""
    if shutil.which("sbatch") is None:
        return [
            f"sbatch is not on the PATH of {socket.gethostname()}; type this where jobs are"
            " submitted, or launcher.dry_run=true to only see the script"
        ]
    there = partitions()
    default = next((name for name, partition in there.items() if partition.default), None)
    asked_for = asked.partition or default
    if not there or asked_for is None:  # sbatch will say what SLURM has to say
        return []
    names = asked_for.split(",")
    unknown = [name for name in names if name not in there]
    if unknown:
        return [
            f"launcher.partition={asked.partition}: {', '.join(unknown)} is not a partition here;"
            f" allowed: {', '.join(there)}; launcher.partition={default or next(iter(there))}"
        ]
    return list(_too_much(asked, [there[name] for name in names]))


def _too_much(asked: SlurmConfig, named: Sequence[Partition]) -> Iterator[str]:
    """What none of the partitions has: SLURM might let such a job wait for ever."""
    names = ",".join(partition.name for partition in named)
    nodes = max(partition.nodes for partition in named)
    if asked.nodes > nodes:
        why = f"is more than the {nodes} nodes of partition {names}"
        yield fault("launcher.nodes", asked.nodes, why, typed=str(nodes))
    limits = [limit_seconds(partition.time) for partition in named]
    seconds = limit_seconds(asked.time) if asked.time else None
    if seconds is not None and all(limit is not None and seconds > limit for limit in limits):
        allowed = " or ".join(dict.fromkeys(partition.time for partition in named))
        why = f"is more than partition {names} allows, {allowed}"
        yield fault("launcher.time", asked.time, why, typed=named[0].time)


def partitions() -> dict[str, Partition]:
    """The partitions of this cluster by name; none where SLURM does not tell."""
    command = ["sinfo", "--noheader", "--format=%P %D %l"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    there = {}
    for line in asked.stdout.splitlines():
        shown, nodes, time = line.split()
        name = shown.rstrip("*")
        there[name] = Partition(name, int(nodes), time, default=shown != name)
    return there


def submit(folder: Path, options: Sequence[str] = ()) -> str:
    """Submit the script of a launch folder; the job's number.

    Args:
        folder: Of the launch; holds the script.
        options: Those of the script once more: on the command line they win over SBATCH_*.

    Raises:
        LaunchError: SLURM refused it, or there is none. The folder is gone: nothing will run there.
    """
    command = ["sbatch", "--parsable", *options, str(LaunchFolder(folder).job)]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, check=False, env=outside_of_jobs(os.environ)
        )
    except OSError as error:  # more words than a command may have, or sbatch has gone
        shutil.rmtree(folder)
        raise LaunchError(f"sbatch cannot be started: {error.strerror}") from error
    if asked.returncode:
        shutil.rmtree(folder)
        raise LaunchError(slurm_job.refused(asked.stderr.strip()))
    sys.stderr.write(asked.stderr)  # what the site has to say to its users
    return asked.stdout.strip().partition(";")[0]  # NUMBER[;CLUSTER]


def outside_of_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables without those of a job around us, which sbatch would hand on to the new one.

    Its scripts and steps would take them for their own: the number of an array's task, cores,
    memory, GPUs. It leaves out a job array or a wait that the user did not set, too.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in _OF_THE_CLUSTER or not name.startswith(("SLURM_", *_UNASKED))
    }


def unfinished(run: Path, number: str, states: Sequence[State]) -> LaunchError:
    """Why the job of a run is over and the run is not finished. Its log has been shown already."""
    ended = slurm_job.described(states) or "forgotten by SLURM"
    again = f"sbatch {shlex.quote(str(LaunchFolder(run.parent).job))} goes on with it"
    what = "is not finished"
    if aborted := stopped(run):
        what = f"was aborted: {aborted}"
    if reason := lost(run):
        what = f"is suspended: {reason}"
    sentence = f"job {number} is {ended}, and {run} {what}"
    logs = RunFolder(run).logs
    failures = failure.read(logs)
    if failures and failures[0].primary:
        first = failures[0]
        error = LaunchError(f"{sentence}: rank {first.rank} on {first.host} failed, see above")
        error.exit_code = first.exit_code
        return error
    if any(state.exit_code == f"{SUSPENDED}:0" for state in states):
        error = LaunchError(f"{sentence}{'' if reason else ', but suspended'}; {again}")
        error.exit_code = SUSPENDED
        return error
    words = [(one.rank, one.host, one.text) for one in failures]
    dead = deaths.cause(logs, words) if any(one.name == "FAILED" for one in states) else None
    remedies = [_REMEDIES[state.name] for state in states if state.name in _REMEDIES]
    why = [dead] if dead else list(dict.fromkeys(remedies))
    failure.write_by_launcher(": ".join([f"job {number} is {ended}", *why]), logs)
    text = ": ".join([sentence, *why])
    return LaunchError(f"{text}; {again}" if reason else text)


def _tell(sentence: str) -> None:
    print(f"ttt: {sentence}", file=sys.stderr, flush=True)
