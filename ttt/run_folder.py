"""The files of a run by name: no other module spells where one lies. Opens none of them.

    RUN_ROOT/BENCHMARK/LAUNCH/        a `LaunchFolder`, which the runs of one launch share
        job.sbatch  slurm-JOB.out     of launcher=slurm
        seed_<s>/                     a `RunFolder`
            config.yaml  environment.json  system.json  manifest.json  rules.yaml
            events.jsonl  result_<i>.txt  summary.json  suspended
            logs/                     its `Logs`
            checkpoint/  kept/  power/  wandb/

`ttt.distributed.checkpoint` names what lies in checkpoint/, `ttt.keep` what lies in kept/, W&B what
lies in wandb/. `slurm/job.sbatch`, a shell script, spells some of these names itself.
"""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.yaml"
EVENTS = "events.jsonl"
SUMMARY = "summary.json"
ENVIRONMENT = "environment.json"
RULES = "rules.yaml"
RESULTS = "result_*.txt"  # a pattern: all MLPerf logs are called so, also those of others
POWER = "power"  # so is the folder of power logs in a submission
WANDB = "wandb"  # W&B's own folder, in the run folder or in tracking.dir
# Programs that start the ranks, by what they print as errors; srun.log is written by job.sbatch,
# and so are torchrun_<node>.log in place of torchrun.log.
TORCHRUN, MPIRUN, SRUN = "torchrun.log", "mpirun.log", "srun.log"
JOB = "job.sbatch"
# In sbatch's patterns: %j and %A become the number of the job, %a that of an array's task.
JOB_LOG, ARRAY_LOG = "slurm-%j.out", "slurm-%A_%a.out"

_SEED = "seed_"


def result(number: int) -> str:
    """The name of an MLPerf log, as MLCommons wants it.

    Args:
        number: The run's index in its launch, or in a submission.
    """
    return f"result_{number}.txt"


def is_run(folder: Path, names: Container[str]) -> bool:
    """Whether a folder with files of these names is a run's.

    A configuration alone does not make one: any project may have a config.yaml.
    """
    known = any(name in names for name in (SUMMARY, EVENTS, ENVIRONMENT))
    return SUMMARY in names or (CONFIG in names and (known or folder.name.startswith(_SEED)))


@dataclass(frozen=True, slots=True)
class Logs:
    """What the processes of a run and their launcher print, and why they failed."""

    path: Path

    @property
    def owner(self) -> Path:
        """Locked by the process that runs this run; see `ttt.supervise.owner`."""
        return self.path / "owner"

    @property
    def torchrun(self) -> Path:
        """What torchrun on one node printed as errors."""
        return self.path / TORCHRUN

    @property
    def mpirun(self) -> Path:
        """What mpirun printed as errors."""
        return self.path / MPIRUN

    @property
    def srun(self) -> Path:
        """What srun printed as errors."""
        return self.path / SRUN

    @property
    def launcher_failure(self) -> Path:
        """What the launcher saw of ranks that left no reason."""
        return self.path / "launcher.failure.json"

    def rank(self, rank: int) -> Path:
        """What a rank prints."""
        return self.path / f"rank_{rank}.log"

    def flight_record(self, rank: int) -> Path:
        """What NCCL was doing when a rank hung, for torch's `torchfrtrace`."""
        return self.path / f"rank_{rank}.nccl_trace"

    def failure(self, rank: int) -> Path:
        """Why a rank failed."""
        return self.path / f"rank_{rank}.failure.json"

    def reserved(self, rank: int) -> Path:
        """Room for a rank's reason, should the disk be full."""
        return self.path / f"rank_{rank}.reserved"

    def of_torchrun(self) -> list[Path]:
        """What torchrun printed as errors on every node, in order of names."""
        return sorted(self.path.glob("torchrun*.log"))

    def rank_failures(self) -> list[Path]:
        """The reasons of all ranks; a file that is only reserved may be blank."""
        return [*self.path.glob("rank_*.failure.json"), *self.path.glob("rank_*.reserved")]

    def failures(self) -> list[Path]:
        """The reasons of all ranks and of the launcher, without reserved files."""
        return list(self.path.glob("*.failure.json"))


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The frozen configuration; private where it holds a secret."""
        return self.path / CONFIG

    @property
    def events(self) -> Path:
        """The record: everything that happened, an event a line."""
        return self.path / EVENTS

    @property
    def summary(self) -> Path:
        """The result, once there is one."""
        return self.path / SUMMARY

    @property
    def environment(self) -> Path:
        """The software and hardware of every node; private where the configuration is."""
        return self.path / ENVIRONMENT

    @property
    def system(self) -> Path:
        """The description of the system, as MLPerf wants it."""
        return self.path / "system.json"

    @property
    def manifest(self) -> Path:
        """A copy of the data set's manifest."""
        return self.path / "manifest.json"

    @property
    def rules(self) -> Path:
        """The rules of a workload of our own."""
        return self.path / RULES

    @property
    def suspended(self) -> Path:
        """Marks a run that is to go on; empty where it was asked to make room, else says why."""
        return self.path / "suspended"

    @property
    def checkpoint(self) -> Path:
        """The folder of what is saved while the run is not over."""
        return self.path / "checkpoint"

    @property
    def kept(self) -> Path:
        """The folder of what `keep` asks for."""
        return self.path / "kept"

    @property
    def power(self) -> Path:
        """The folder of power logs."""
        return self.path / POWER

    @property
    def logs(self) -> Path:
        """The folder of `Logs`."""
        return self.path / "logs"

    def results(self) -> list[Path]:
        """The MLPerf logs: one, or none before the run has begun."""
        return sorted(self.path.glob(RESULTS))

    def power_logs(self) -> list[Path]:
        """The power logs of all nodes."""
        return sorted(self.power.glob("node_*.txt"))

    def result(self, number: int) -> Path:
        """The MLPerf log of the run with this index in its launch."""
        return self.path / result(number)

    def power_log(self, node: int) -> Path:
        """The power log of one node."""
        return self.power / f"node_{node}.txt"


@dataclass(frozen=True, slots=True)
class LaunchFolder:
    """The runs of one launch.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def job(self) -> Path:
        """The batch script of launcher=slurm; private where it holds a secret."""
        return self.path / JOB

    def run(self, seed: int) -> Path:
        """The folder of the run with this seed."""
        return self.path / f"{_SEED}{seed}"
