"""One process per GPU, or several on a CPU, by torchrun.

On one node it is started here; on several, by hand, the same command is typed on each, and the
nodes meet (`ttt.launch.nodes`) before torchrun starts.
"""

import math
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from ttt.distributed import key
from ttt.distributed.rank import Placement, to_go_on
from ttt.errors import ConfigError
from ttt.launch import endpoint, nodes
from ttt.launch.devices import processes_per_node, starting_problems
from ttt.launch.job import Job, last_words, one_by_one
from ttt.launch.process import supervise, worker_environment
from ttt.launch.relay import Relay
from ttt.run_folder import Logs, RunFolder
from ttt.signals import raising
from ttt.supervise.failure import LAUNCHED_BY_TTT

# The host's own name need not lead anywhere: torchrun's workers would look for each other there.
# torchrun's own store would listen at every address. A file takes its place, in the temporary
# folder of the launch, and the ranks open their own store (`ttt.distributed.rendezvous`).
_ONE_NODE = (
    *("--nnodes=1", "--local-addr=127.0.0.1", "--rdzv-backend=c10d", "--rdzv-endpoint="),
    "--rdzv-conf=store_type=file",
)
_OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
_STARTING_SECONDS = 60.0  # by which one node's torchrun may start later than another's
_SHUTDOWN_SECONDS = 10  # before torchrun kills the ranks that survive another's death


class Torchrun:
    """Implements `Launcher` with torch.distributed.run.

    Args:
        procs: Processes per node; None for one per visible GPU, or 2 without any.
        nodes: Number of nodes; with more than one, the same `ttt run` is typed on each.
        rdzv_endpoint: HOST:PORT where the nodes meet.
        device: "auto", "cuda" or "cpu"; on the last, GPUs set no limit.
    """

    remote = False

    def __init__(
        self, *, procs: int | None, nodes: int, rdzv_endpoint: str | None, device: str
    ) -> None:
        self._device = device
        self._procs = processes_per_node(device) if procs is None else procs
        self._nodes = nodes
        self._endpoint = rdzv_endpoint

    @property
    def on_every_node(self) -> bool:
        """With several nodes and no scheduler, the user types it on each."""
        return self._nodes > 1

    def processes(self) -> int:
        """Processes over all nodes."""
        return self._procs * self._nodes

    def problems(self) -> list[str]:
        """More processes than GPUs, or nodes that cannot find each other."""
        found = starting_problems(self._device, procs=self._procs, nodes=self._nodes)
        if self._nodes > 1 and (sentence := endpoint.problem(self._endpoint)):
            found.append(sentence)
        return found

    def launch(self, job: Job) -> int:
        """Run everything on this node.

        Raises:
            LaunchError: A worker died; the text is that of the rank that failed first.
        """
        return one_by_one(job, self._run)

    def to_go_on(self, folder: Path) -> str:
        """By torchrun on this node."""
        return to_go_on(Placement(size=self._procs, local_size=self._procs), folder)

    def join(self, arguments: Sequence[str], seconds: float) -> int:
        """Take part, as one of several nodes, in a run whose folder is made by rank 0.

        Raises:
            LaunchError: The nodes did not come together within the time.
            ConfigError: This node was started with another command line than the others.
        """
        where = endpoint.parse(self._endpoint)
        if where is None:
            raise ConfigError(self.problems())
        with raising():
            place = nodes.meet(where, self._nodes, arguments, seconds, key.given())
        ours = [f"--nnodes={self._nodes}", f"--node-rank={place.rank}"]
        # Every option is given: torchrun reads missing ones from PET_..., which a pod may set.
        ours += ["--rdzv-backend=static", f"--rdzv-endpoint={where}", f"--rdzv-id={place.launch}"]
        ours += [f"--rdzv-conf=timeout={math.ceil(seconds + _STARTING_SECONDS)}"]
        with tempfile.TemporaryDirectory(prefix="ttt-") as folder:
            relay = Relay(Logs(Path(folder)).torchrun)
            status = self._supervise(ours, ["-m", "ttt", "run", *arguments], None, {}, relay)
            return relay.close(status)

    def _run(self, folder: Path) -> str:
        log = Logs(RunFolder(folder).logs).torchrun
        place = [*_ONE_NODE, f"--rdzv-id={uuid.uuid4().hex}"]
        own = _OWN_STORE | key.variables()
        status = self._supervise(place, ["-m", "ttt.worker", str(folder)], log, own)
        return last_words("torchrun", log, status)

    def _supervise(
        self,
        place: Sequence[str],
        program: list[str],
        log: Path | None,
        own: dict[str, str],
        relay: Relay | None = None,
    ) -> int:
        options = [f"--nproc-per-node={self._procs}", *place]
        options += ["--max-restarts=0", f"--shutdown-timeout={_SHUTDOWN_SECONDS}"]
        command = [sys.executable, "-m", "torch.distributed.run", *options, *program]
        variables = worker_environment(self._procs) | own
        if log is None:  # no process here reads the workers' failures: they show them themselves
            del variables[LAUNCHED_BY_TTT]
        return supervise(
            command,
            environment=variables,
            stderr=relay.log if relay else log,
            own_session=True,
            logs=log.parent if log else None,
            look=relay.show if relay else None,
        )
