"""Which process am I? Read from the environment, by a table, without torch.

Every launcher tells its processes who they are in variables of its own. A row of the table names
them; the first row that is complete wins, so that torchrun's workers inside a SLURM step or under
mpirun are torchrun's.
"""

import os
import re
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Environment = Mapping[str, str]

# How long to wait for rank 0, in seconds, where no configuration is at hand before it comes.
JOIN_VARIABLE = "TTT_JOIN_SECONDS"


@dataclass(frozen=True, slots=True)
class Placement:
    """One process among those of a run.

    Attributes:
        rank: 0 to size - 1, over all nodes.
        size: Number of processes.
        local_rank: 0 to local_size - 1, on this node.
        local_size: Number of processes on this node.
        launcher: Who says so: "torchrun", "slurm" or "mpi", as in `launcher=`.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launcher: str = "torchrun"


@dataclass(frozen=True, slots=True)
class Variables:
    """The names under which one launcher says it, in the order of `Placement`."""

    launcher: str
    rank: str
    size: str
    local_rank: str
    local_size: str


# SLURM's batch scripts and salloc shells have SLURM_PROCID and SLURM_NTASKS as well, but only the
# tasks that srun started have a step with a number of tasks.
TABLE = (
    Variables("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    Variables("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE"),  # DeepSpeed's
    Variables(  # Open MPI's mpirun
        "mpi",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    Variables(  # MVAPICH2's
        "mpi",
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_LOCAL_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
    ),
    # MPICH's and Intel MPI's (PMI has no variables for the node; Hydra adds its own)
    Variables("mpi", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    Variables("mpi", "PMI_RANK", "PMI_SIZE", "PMI_LOCAL_RANK", "PMI_LOCAL_SIZE"),  # Cray PALS
    Variables(  # jsrun's
        "mpi",
        "JSM_NAMESPACE_RANK",
        "JSM_NAMESPACE_SIZE",
        "JSM_NAMESPACE_LOCAL_RANK",
        "JSM_NAMESPACE_LOCAL_SIZE",
    ),
    Variables(
        "slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_HERE"
    ),
)

# Launchers that give a process a rank in words of their own, and not all that a row needs: the
# name of the rank, and of the number of processes, if there is one.
_RANKS_ALONE = {
    "PMIX_RANK": "",
    "PALS_RANKID": "",
    "FLUX_TASK_RANK": "FLUX_JOB_SIZE",
    "ALPS_APP_PE": "",
    "HOROVOD_RANK": "HOROVOD_SIZE",
}
_EXPORT = "export RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE in each"
_STARTS_OTHERS = ("slurm",)  # their variables are there in scripts and shells, too
_BY_TORCHRUN = "TORCHELASTIC_RUN_ID"  # in the environment of its workers, and nowhere else


def from_environment(environment: Environment = os.environ) -> Placement | None:
    """Where a launcher has placed this process; None when none did, or it started just one.

    torchrun's only process still has torchrun as its parent, which wants to know how it ended; one
    task alone, of srun or mpirun, is a process like any other.
    """
    known = {**environment, "SLURM_STEP_TASKS_HERE": _slurm_tasks_here(environment)}
    for names in TABLE:
        needed = (names.rank, names.size, names.local_rank, names.local_size)
        found = [known.get(name, "") for name in needed]
        if not all(value.isdigit() for value in found):
            continue
        rank, size, local_rank, local_size = map(int, found)
        placement = Placement(rank, size, local_rank, local_size, names.launcher)
        return None if placement.size == 1 and names.launcher != "torchrun" else placement
    return None


def gpu_index(local_rank: int, visible: int) -> int | None:
    """Which of the GPUs that a process sees is its own; None if none is.

    One that sees a single GPU was given it (srun --gpus-per-task, a MIG instance, a container), or
    shares it with all others of its node: the processes compare their GPUs when they meet.

    Args:
        local_rank: The process on its node.
        visible: How many GPUs it sees.
    """
    if visible == 1:
        return 0
    return local_rank if local_rank < visible else None


def node_name(environment: Environment = os.environ) -> str:
    """A name that this node's processes share; a test cluster has several nodes on one host."""
    number = environment.get("GROUP_RANK", environment.get("SLURM_NODEID", ""))
    return f"{socket.gethostname()}/{number}"


def to_go_on(placement: Placement | None, folder: Path) -> str:
    """What a person types to go on with a run, whose processes were started as this one was.

    Args:
        placement: Of this process, or of any of those that a launcher starts.
        folder: The run folder.
    """
    worker = f"-m ttt.worker {shlex.quote(str(folder))}"
    if placement is None:
        return f"python {worker}"
    if placement.launcher == "torchrun" and placement.size == placement.local_size:
        return f"torchrun --standalone --nproc-per-node {placement.size} {worker}"
    return f"python {worker}, in each process, started as before"


def launch_problem(environment: Environment = os.environ) -> str | None:
    """A sentence if a launcher gave this process a rank and not all else that ttt must know.

    Taken for a process of its own, each of them would train alone in a world of one. Kubeflow tells
    RANK and WORLD_SIZE, Azure ML no LOCAL_WORLD_SIZE, an old MPICH nothing of the node.
    """
    placement = from_environment(environment)
    if placement is not None:
        return _contradiction(placement, environment)
    for names in TABLE:
        if names.launcher in _STARTS_OTHERS or names.rank not in environment:
            continue
        if environment.get(names.size) == "1":
            continue
        needed = (names.rank, names.size, names.local_rank, names.local_size)
        given = [f"{name}={environment[name]}" for name in needed if name in environment]
        lacks = [name for name in needed if not environment.get(name, "").isdigit()]
        return (
            f"{' '.join(given)}: a launcher started this process and did not tell"
            f" {', '.join(lacks)}; start by torchrun, srun or mpirun, or {_EXPORT}"
        )
    if any(environment.get(size) == "1" for size in _sizes()):
        return None
    rank = next((name for name in _RANKS_ALONE if name in environment), None)
    if rank is None:
        return None
    return (
        f"{rank}={environment[rank]} says that a launcher started this process, but ttt does not"
        f" learn from it how many there are here and elsewhere; start them by torchrun, srun or"
        f" mpirun, or {_EXPORT}"
    )


def _sizes() -> list[str]:
    """The names under which launchers tell how many processes there are."""
    return [names.size for names in TABLE] + [size for size in _RANKS_ALONE.values() if size]


def _contradiction(placement: Placement, environment: Environment) -> str | None:
    """A sentence if this is one of several processes, but variables left in the shell deny it.

    Then each process would train alone. For a worker of torchrun only torchrun's variables count.
    """
    if placement.size > 1 or _BY_TORCHRUN in environment:
        return None
    first = TABLE[0]
    names = (first.rank, first.size, first.local_rank, first.local_size)
    others = from_environment({k: v for k, v in environment.items() if k not in names})
    if others is None:
        return None
    return (
        f"WORLD_SIZE=1 says that this process is alone, and its launcher ({others.launcher}) that"
        f" it is rank {others.rank} of {others.size}; what is left of another launch goes by: unset"
        f" {' '.join(names)}"
    )


def _slurm_tasks_here(environment: Environment) -> str:
    """Tasks of this step on this node, from "2(x3),1": two on each of three nodes, then one."""
    counts: list[str] = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        if match := re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part):
            counts += [match[1]] * int(match[2] or 1)
    node = environment.get("SLURM_NODEID", "")
    return counts[int(node)] if node.isdigit() and int(node) < len(counts) else ""
