"""How the processes of a run meet: rank 0 opens a store, everybody says who he is.

Under torchrun the agent's store is used. Otherwise rank 0 opens one at MASTER_ADDR:MASTER_PORT,
which the SLURM script sets, MPI broadcasts (`ttt.dist.mpi`), or a person exports. Nothing here
falls back to localhost: a process that cannot find rank 0 must say so, not train alone.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from ipaddress import ip_address

import psutil
from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    Store,
    TCPStore,
)

from ttt.dist.agreement import HUSH, decide, named, obey, ours, wait
from ttt.dist.rank import Placement
from ttt.errors import LaunchError

JOIN_SECONDS = 60.0
_CONFIG = "config"
_HANDSHAKE_SECONDS = 5.0  # for a store that is there
_NAP_SECONDS = 0.1  # between two tries to reach rank 0

_EACH_ITS_OWN = (
    "give each a RANK of its own; by torchrun on several nodes, type the same on each: torchrun"
    " --nnodes NODES --nproc-per-node PROCESSES --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m"
    " ttt run ..."
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a process says of itself when it comes.

    Attributes:
        rank: Its own.
        size: How many processes it was told there are.
        host: Where it is.
    """

    rank: int
    size: int
    host: str


def connect(placement: Placement, seconds: float = JOIN_SECONDS) -> TCPStore:
    """The store of this run.

    Args:
        placement: Who this process is.
        seconds: How long the processes wait for each other. Rank 0 composes a configuration before
            it opens the store: the others, who may be quicker, wait twice as long.

    Raises:
        LaunchError: There is no address, the port is taken, or rank 0 cannot be reached.
    """
    host, port = address(placement)
    # torchrun's agents have opened it already, and its workers are clients.
    opens = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" and placement.rank == 0
    say_which_network(placement, host)
    here = socket.gethostname()
    if not opens:
        _reach(host, port, 2 * seconds, f"rank {placement.rank} on {here}")
    try:
        return client(host, port, 2 * seconds, opens=opens)
    except (DistNetworkError, DistStoreError) as error:
        reason = str(error).partition("\n")[0]
        reason = "it is in use" if "EADDRINUSE" in reason else reason
        if opens:
            raise LaunchError(
                f"rank 0 cannot listen on port {port} of {here}: {reason}; another program has the"
                " port, or another process is rank 0, too: set MASTER_PORT to a free one, and give"
                " every process a RANK of its own"
            ) from error
        raise LaunchError(
            f"rank {placement.rank} on {here} met something else than rank 0 at {host}:{port}"
            f" ({reason}); set MASTER_PORT to a port that no other program has, the same for every"
            " process"
        ) from error


def _reach(host: str, port: int, seconds: float, who: str) -> None:
    """Wait until something answers there.

    torch's own waiting is not used: it prints a stack for every try.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            left = max(_NAP_SECONDS, deadline - time.monotonic())
            return socket.create_connection((host, port), left).close()
        except OSError as error:
            reason = error.strerror or str(error)
        if time.monotonic() > deadline:
            raise LaunchError(
                f"{who} could not reach rank 0 at {host}:{port} within {seconds:g} s ({reason});"
                " start rank 0 there, or set MASTER_ADDR and MASTER_PORT, the same for every"
                " process"
            )
        time.sleep(_NAP_SECONDS)


def client(host: str, port: int, seconds: float, *, opens: bool = False) -> TCPStore:
    """A connection of its own to the store: one that waits does not keep another waiting.

    Raises:
        DistNetworkError: There is none, or something else answers.
    """
    # In a thread that is left behind: where another program has the port and says nothing, torch
    # waits for ever, and no signal gets through.
    made: list[TCPStore | Exception] = []

    def make() -> None:
        limit = timedelta(seconds=seconds)
        try:
            made.append(TCPStore(host, port, None, opens, limit, wait_for_workers=False))
        except Exception as error:  # raised again below
            made.append(error)

    thread = threading.Thread(target=make, daemon=True)
    with HUSH:
        thread.start()
        thread.join(max(_HANDSHAKE_SECONDS, seconds))
    if not made:
        raise DistNetworkError("no answer of a store")
    if isinstance(made[0], Exception):
        raise made[0]
    return made[0]


def meet(store: Store, placement: Placement, text: str | None, seconds: float) -> str:
    """Wait until everybody is here, and give everybody rank 0's text.

    Args:
        store: The store of this run.
        placement: Who this process is.
        text: On rank 0, what the others are to get.
        seconds: How long rank 0 waits for the others.

    Raises:
        LaunchError: A rank is missing or came twice; on rank 0 it names the ranks.
    """
    store = ours(store, "meeting")
    me = Arrival(placement.rank, placement.size, socket.gethostname())
    number = store.add("number", 1)
    store.set(f"came/{number}", json.dumps(asdict(me)))
    if placement.rank or number > placement.size:
        obey(store, 2 * seconds)
        if number > placement.size:
            one_more = f"rank {me.rank} on {me.host} came when all {me.size} processes were there"
            raise LaunchError(f"{one_more}; {_EACH_ITS_OWN}")
        return store.get(_CONFIG).decode()
    assert text is not None
    store.set(_CONFIG, text)
    keys = [f"came/{number}" for number in range(1, placement.size + 1)]
    with contextlib.suppress(DistStoreError):
        wait(store, keys, seconds)
    # A process is counted a moment before it has said who it is.
    said = [store.get(key) for key in keys if store.check([key])]
    verdict = absence(me, [Arrival(**json.loads(one)) for one in said], seconds)
    decide(store, LaunchError(verdict) if verdict else None)
    return text


def absence(zero: Arrival, came: Sequence[Arrival], seconds: float) -> str:
    """A sentence on why these are not the processes of one run; empty if they are.

    Args:
        zero: Rank 0, whose size counts.
        came: All that came, it included.
        seconds: How long that took.
    """
    hosts: dict[int, list[str]] = defaultdict(list)
    for one in came:
        hosts[one.rank].append(one.host)
    other = next((one for one in came if one.size != zero.size), None)
    if other:
        return (
            f"rank {other.rank} on {other.host} was started as one of {other.size} processes, and"
            f" rank 0 on {zero.host} as one of {zero.size}; give every process the same WORLD_SIZE"
        )
    for rank, where in hosts.items():
        if len(where) > 1:
            return f"rank {rank} came {len(where)} times, from {named(where)}; {_EACH_ITS_OWN}"
    absent = [rank for rank in range(zero.size) if rank not in hosts]
    if not absent:
        return ""
    plural = "s" if len(absent) > 1 else ""
    from_where = sorted({one.host for one in came})
    return (
        f"{len(absent)} of {zero.size} ranks did not come within {seconds:g} s: rank{plural}"
        f" {named(absent)}; ranks came from {named(from_where)}; start the others as well, or"
        f" wait longer: timeout.join_seconds={2 * seconds:g}"
    )


def address(placement: Placement) -> tuple[str, int]:
    """Where rank 0 is.

    Raises:
        LaunchError: Nothing tells.
    """
    host, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT", "")
    if host and port.isdigit():
        return host, int(port)
    if placement.launcher == "slurm":
        return host or _first_node(), _step_port()
    raise LaunchError(
        f"MASTER_ADDR={host or ''} and MASTER_PORT={port} do not tell where rank 0 is; set both,"
        " the same for every process"
    )


def _step_port() -> int:
    """A port that every task of this step computes alike, and other steps differently."""
    job, step = (int(os.environ.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return 20_000 + (job * 37 + step) % 10_000


def _first_node() -> str:
    """The node of rank 0: its name where that is known here, else its address by SLURM itself."""
    nodes = os.environ.get("SLURM_STEP_NODELIST", "")
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        name = _scontrol("hostnames", nodes).split()[0]
        with contextlib.suppress(OSError):
            return str(socket.gethostbyname(name)) and name
        if found := re.search(r"NodeAddr=(\S+)", _scontrol("node", name)):
            return found[1]
    raise LaunchError(
        f"the first node of {nodes or 'this step'} cannot be found out with scontrol (is it in"
        " this container?); set MASTER_ADDR to its name outside, as slurm/job.sbatch does"
    )


def _scontrol(*words: str) -> str:
    return subprocess.run(
        ["scontrol", "show", *words], capture_output=True, text=True, check=True
    ).stdout


def say_which_network(placement: Placement, host: str) -> None:
    """Let gloo use the network that leads to rank 0.

    Left alone it takes the address that the host's own name resolves to, which on many systems is
    a loopback address (127.0.1.1 in /etc/hosts) that other nodes cannot reach.
    """
    if placement.local_size == placement.size or "GLOO_SOCKET_IFNAME" in os.environ:
        return
    with contextlib.suppress(OSError):
        family, kind, _, _, there = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(there)  # nothing is sent: this only asks for a route
            mine = probe.getsockname()[0]
        if ip_address(mine).is_loopback:
            return
        for name, addresses in psutil.net_if_addrs().items():
            if any(one.address == mine for one in addresses):
                os.environ["GLOO_SOCKET_IFNAME"] = name
