"""The processes of a run: how they find each other, and what they agree on.

What they add up and exchange is in `ttt.distributed.axis`.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch
import torch.distributed as dist
from torch._C import _distributed_c10d as c10d
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import _set_pg_timeout
from torch.distributed.elastic.multiprocessing.errors import record

from ttt.distributed import agreement, key, mpi
from ttt.distributed.agreement import LostRankZero, Show, silent
from ttt.distributed.axis import Alone, Several, replicas
from ttt.distributed.board import StoreBoard
from ttt.distributed.device import take
from ttt.distributed.rank import Placement
from ttt.distributed.rendezvous import JOIN_SECONDS, connect, meet
from ttt.protocols import Axis, Shard
from ttt.schema.parallel import Mesh

A = TypeVar("A")
T = TypeVar("T")

# Variables of torch's ProcessGroupNCCL, where the user has set none.
_NCCL = {
    # Entries of the flight recorder; the second is what newer releases of torch call it.
    "TORCH_NCCL_TRACE_BUFFER_SIZE": "2000",
    "TORCH_FR_BUFFER_SIZE": "2000",
    # If torch's own watchdog thread meets an error of CUDA or NCCL, by default it ends the process
    # by SIGABRT (Watchdog::run in torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp). Then the main
    # thread cannot show the CUDA error with its traceback. With 0 that thread only logs the error
    # and ends. NCCL is not aborted then (TORCH_NCCL_ASYNC_ERROR_HANDLING is 3 by default): no rank
    # goes on with half of a sum. `ttt.supervise.heartbeat` ends a rank that waits for one that is
    # gone.
    "TORCH_NCCL_RETHROW_CUDA_ERRORS": "0",
}
# Where torch itself writes it when it finds a collective stuck.
_FLIGHT_FILES = ("TORCH_NCCL_DEBUG_INFO_TEMP_FILE", "TORCH_FR_DUMP_TEMP_FILE")
# In messages of torch and NCCL that only say that another process is gone or does not answer.
_OF_A_PEER = (
    "gloo",  # nearly all its errors are of a connection that is closed or timed out
    "ncclremoteerror",  # getNcclErrorDetailStr in torch/csrc/distributed/c10d/NCCLUtils.cpp
    "remote process exited or there was a network error",  # ncclGetErrorString in NCCL's init.cc
    "nccl communicator was aborted",  # NCCLComm::getNcclComm: this rank gave up on another before
    "collective operation timeout",  # WorkNCCL::checkTimeout in ProcessGroupNCCL.cpp
    "timed out in blocking wait",  # WorkNCCL::wait, with TORCH_NCCL_BLOCKING_WAIT=1
    "via c10d key-value store",  # broadcastUniqueNCCLID: rank 0 was gone before NCCL began
    "connection closed by",  # NCCL's sockets, within a system error
    "connection reset by peer",
    "broken pipe",
)
_DEVICE_SECONDS = 60.0  # that CUDA may take to start on one node, and not on another
_INIT_TIMEOUT = timedelta(minutes=30)  # MLPerf's own limit for initialisation, closed division


class Solo(Alone):
    """The world of a single process: everything is already agreed."""

    local_rank = 0
    local_size = nodes = 1
    mesh = Mesh()
    data = Shard()

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.threads = len(os.sched_getaffinity(0))
        self.replicas: Axis = Alone()

    def board(self) -> None:
        """No other process reads notes."""

    def expect_answers_within(self, seconds: float) -> None:
        """There is no peer to wait for."""

    def barrier(self) -> None:
        """There is no peer to wait for."""

    def gather_nodes(self, value: T) -> list[T]:
        """The one value."""
        return [value]

    def agree(self, value: T) -> T:
        """The value itself."""
        return value


class Group(Several):
    """A world of several processes over torch.distributed. Implements `ttt.protocols.World`."""

    def __init__(
        self, placement: Placement, device: torch.device, store: TCPStore, mesh: Mesh
    ) -> None:
        super().__init__(placement.rank, placement.size)
        self.local_rank, self.local_size = placement.local_rank, placement.local_size
        self.device = device
        self.threads = max(1, len(os.sched_getaffinity(0)) // placement.local_size)
        self.mesh = mesh
        self.data = Shard(mesh.data_shard(self.rank), mesh.data_shards)
        self.replicas: Axis = replicas(self.rank, mesh)
        self._store = store
        self.nodes = self.sum([int(placement.local_rank == 0)])[0]

    def arranged(self, mesh: Mesh) -> "Group":
        """The same processes as another mesh; all call this together."""
        placement = Placement(self.rank, self.size, self.local_rank, self.local_size)
        return Group(placement, self.device, self._store, mesh)

    def board(self) -> StoreBoard:
        """A place for notes, apart from everything that may get stuck."""
        return StoreBoard(self._store, self.rank, self.size)

    def expect_answers_within(self, seconds: float) -> None:
        """From now on a peer that does not take part for this long is an error."""
        for group in {dist.group.WORLD, *dist.distributed_c10d._world.pg_map}:
            _set_pg_timeout(timedelta(seconds=seconds), group)

    def barrier(self) -> None:
        """Wait until every process is here."""
        dist.all_reduce(torch.zeros(1))

    def gather_nodes(self, value: T) -> list[T]:
        """The values of the first process of every node, in node order, on every process."""
        mine = (self.local_rank == 0, value)
        values = mpi.gather(mine) if mpi.joined() else self.gather(mine)
        return [value for first, value in values if first]

    def agree(self, value: T) -> T:
        """Rank 0's value, on every process. The value must pickle."""
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


def recorded(function: Callable[[A], T], argument: A) -> T:
    """Call it; an exception also goes where torchrun looks for the rank that failed first."""
    return record(function)(argument)  # type: ignore[return-value]  # it raises instead


def lost_peer(error: BaseException) -> bool:
    """Whether an error only says that another process is gone or does not answer.

    An error of NCCL may also be this rank's own: CUDA's, a full /dev/shm, two ranks on one GPU.
    """
    if isinstance(error, dist.DistNetworkError | dist.DistStoreError | LostRankZero):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _OF_A_PEER)


def flight_record() -> bytes | None:
    """What NCCL's latest collectives were doing, pickled; None where NCCL is not in use."""
    if not dist.is_initialized() or "nccl" not in dist.get_backend_config():
        return None
    dump = getattr(c10d, "_dump_nccl_trace", None)  # builds for CPUs have none
    return bytes(dump()) if dump else None


def set_up_nccl(environment: MutableMapping[str, str]) -> None:
    """Set the variables that torch's ProcessGroupNCCL reads when it is made; the user's win."""
    for name, value in _NCCL.items():
        environment.setdefault(name, value)
    if not environment.keys() & set(_FLIGHT_FILES):  # torch's own are of a known name in /tmp
        prefix = os.path.join(tempfile.gettempdir(), "flight_record_rank_")
        environment.update(dict.fromkeys(_FLIGHT_FILES, prefix))


@contextmanager
def join(
    placement: Placement | None,
    text: str | None,
    choose: Callable[[str, int], torch.device],
    *,
    seconds: float = JOIN_SECONDS,
    show: Show = silent,
    arrange: Callable[[str, int], Mesh] = lambda _, size: Mesh.of(size),
) -> Iterator[tuple["Solo | Group", str]]:
    """Meet the other processes of the run and leave them at the end.

    Args:
        placement: Who this process is; None when it is alone.
        text: The frozen configuration on rank 0; None elsewhere, where no run folder may exist.
        choose: The device for this configuration and local rank.
        seconds: How long rank 0 waits for the others, the others twice as long for it.
        show: Shows on rank 0 why it gives up, before the others know.
        arrange: The mesh for this configuration and number of processes.

    Yields:
        The world, and the configuration's text, the same on every process.

    Raises:
        LaunchError: A process did not come; the sentence names it. Or one came without
            the secret of this launch.
        ConfigError: Some process has no device of its own.
    """
    if placement is None:  # this process is alone
        key.drop()
        assert text is not None
        yield Solo(choose(text, 0)), text
        return
    secret = key.take()
    if placement.rank == 0 and placement.size > 1 and not secret:
        print(f"ttt: {key.NOT_SET}", file=sys.stderr)
    store = mpi.connect(placement) if mpi.needed(placement) else connect(placement, seconds)
    text = meet(store, placement, text, seconds, secret, show)
    limit = seconds + _DEVICE_SECONDS
    device = take(store, placement, partial(choose, text), limit, secret, show)
    if device.type == "cuda":
        set_up_nccl(os.environ)
    dist.init_process_group(
        backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        store=agreement.ours(store, "world"),
        rank=placement.rank,
        world_size=placement.size,
        timeout=_INIT_TIMEOUT,
    )
    yield Group(placement, device, store, arrange(text, placement.size)), text
    # Not after an error: a peer may be gone, and saying goodbye to it would wait for it.
    dist.destroy_process_group()
