"""One process per GPU, or several on a CPU, by torchrun.

On one node it is started here; on several, by hand, the same command is typed on each.
"""

import re
import signal
import socket
import sys
from collections.abc import Container, Sequence
from pathlib import Path

from ttt import failure
from ttt.failure import LAUNCHED_BY_TTT
from ttt.launch.devices import processes_per_node, starting_problems
from ttt.launch.job import Job, ended_by, explain, outcome, worst
from ttt.launch.process import supervise, worker_environment

# As torchrun takes it: a name, an IPv4 address, or an IPv6 one in brackets.
_ENDPOINT = re.compile(r"([^:\s\[\]]+|\[[0-9a-fA-F:.%\w]+\]):\d{1,5}")
_SHUTDOWN_SECONDS = 10  # before torchrun kills the ranks that survive another's death


class Torchrun:
    """Implements `Launcher` with torch.distributed.run.

    Args:
        procs: Processes per node; None for one per visible GPU, or 2 without any.
        nodes: Number of nodes; with more than one, the same `ttt run` is typed on each.
        rdzv_endpoint: HOST:PORT where the nodes meet.
        device: "auto", "cuda" or "cpu"; on the last, GPUs set no limit.
    """

    elsewhere = False

    def __init__(
        self, *, procs: int | None, nodes: int, rdzv_endpoint: str | None, device: str
    ) -> None:
        self._device = device
        self._procs = processes_per_node(device) if procs is None else procs
        self._nodes = nodes
        self._endpoint = rdzv_endpoint

    @property
    def on_every_node(self) -> bool:
        """With several nodes and no scheduler, somebody types it on each."""
        return self._nodes > 1

    def processes(self) -> int:
        """Processes over all nodes."""
        return self._procs * self._nodes

    def problems(self) -> list[str]:
        """More processes than GPUs, or nodes that cannot find each other."""
        found = starting_problems(self._device, procs=self._procs, nodes=self._nodes)
        if self._nodes > 1 and not _ENDPOINT.fullmatch(self._endpoint or ""):
            found.append(
                f"launcher.nodes={self._nodes} needs a place to meet, launcher.rdzv_endpoint="
                f"{self._endpoint}; allowed: HOST:PORT or [IPv6]:PORT, the same on every node;"
                " launcher.rdzv_endpoint=node1:29500"
            )
        return found

    def launch(self, job: Job) -> int:
        """Run everything on this node.

        Raises:
            LaunchError: A worker died; the text is that of the rank that failed first.
        """
        codes = []
        for folder in job.runs:
            log = folder / "logs" / "torchrun.log"
            self._supervise(["-m", "ttt.worker", str(folder)], log)
            code = outcome(folder)
            if code is None:
                said = log.read_text(errors="replace") if log.exists() else ""
                told = {one.rank for one in failure.read(folder / "logs")}
                raise explain(folder, death(said, told))
            codes.append(code)
        return worst(codes)

    def join(self, arguments: Sequence[str]) -> int:
        """Take part, as one of several nodes, in a run whose folder is made by rank 0."""
        return self._supervise(["-m", "ttt", "run", *arguments], None)

    def _supervise(self, program: list[str], log: Path | None) -> int:
        command = [sys.executable, "-m", "torch.distributed.run", *self._options(), *program]
        variables = worker_environment(self._procs)
        if log is None:  # nobody reads the workers' failures here: they show them themselves
            del variables[LAUNCHED_BY_TTT]
        logs = log.parent if log else None
        return supervise(command, environment=variables, stderr=log, own_session=True, logs=logs)

    def _options(self) -> list[str]:
        options = [f"--nproc-per-node={self._procs}", f"--nnodes={self._nodes}"]
        options += ["--max-restarts=0", f"--shutdown-timeout={_SHUTDOWN_SECONDS}"]
        if self._nodes == 1:
            return [*options, "--standalone"]
        endpoint = f"--rdzv-endpoint={self._endpoint}"
        return [*options, "--rdzv-backend=c10d", endpoint, "--rdzv-id=ttt"]


def death(log: str, told: Container[int]) -> str:
    """What torchrun saw of a rank that died without a word, in a sentence.

    One that lost it as a peer may be gone before torchrun looks, and then comes first in its list.

    Args:
        log: What torchrun printed.
        told: The ranks that left word of why they ended.
    """
    ended = re.findall(r"^ +rank +: (\d+) .*\n +exitcode +: (-?\d+)", log, re.MULTILINE)
    silent = [(int(rank), int(code)) for rank, code in ended if int(rank) not in told]
    if not silent:
        said = log.splitlines()[-15:]
        return "torchrun failed:\n" + "\n".join(said) if said else "torchrun failed without a word"
    rank, code = min(silent, key=_suspicion)
    if code < 0:
        return ended_by(f"rank {rank}", socket.gethostname(), -code)
    return f"rank {rank} ended with exit code {code} and left no word"


def _suspicion(ended: tuple[int, int]) -> tuple[bool, bool, int]:
    """A signal comes first, but for SIGTERM: that is how torchrun ends those that still lived."""
    _, code = ended
    return code == -signal.SIGTERM, code >= 0, code
