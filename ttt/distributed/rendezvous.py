"""How the processes of a run meet: rank 0 opens a store, every rank sends its name.

Under torchrun the agent's store is used, if it has one for us. Otherwise rank 0 opens one at
MASTER_ADDR:MASTER_PORT, which the SLURM script sets, MPI broadcasts (`ttt.distributed.mpi`), or a
person exports. Nothing here falls back to localhost: a process that cannot find rank 0 must say so,
not train alone. Only where all processes are on one node, no other one can reach what they open.
"""

import contextlib
import errno
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    Store,
    TCPStore,
)

from ttt.distributed.agreement import (
    HUSH,
    Room,
    Show,
    Unanswered,
    decide,
    named,
    obey,
    silent,
    unproved,
    wait,
)
from ttt.distributed.network import LOOPBACK, address, one_node, say_which_network
from ttt.distributed.rank import Placement
from ttt.errors import LaunchError

JOIN_SECONDS = 60.0
_LONGEST_NAME = 255  # characters of a host's
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
        size: The number of processes, as its launcher gave it.
        host: Where it is.
    """

    rank: int
    size: int
    host: str

    def __str__(self) -> str:
        """For a sentence."""
        return f"rank {self.rank} on {self.host}"


def arrival(value: Any) -> Arrival | None:
    """The arrival in a message from the network; None if it is no arrival of ttt."""
    if not isinstance(value, dict) or set(value) != {"rank", "size", "host"}:
        return None
    rank, size, host = value["rank"], value["size"], value["host"]
    if type(rank) is not int or type(size) is not int or rank < 0:
        return None
    if not isinstance(host, str) or len(host) > _LONGEST_NAME or not host.isprintable():
        return None
    return Arrival(rank, size, host)


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
    theirs = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    opens = placement.rank == 0 and not theirs
    host = LOOPBACK if one_node(placement) and not theirs else host
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

    Args:
        host: Where the store is. torch's own listens at every address of a machine; one that is
            opened at a loopback address listens there alone.
        port: 0 for a free one, where it is opened.
        seconds: How long to wait for it.
        opens: Whether this process opens it.

    Raises:
        DistNetworkError: There is none, or something else answers.
    """
    # In a thread that is left behind: if another program has the port and sends nothing, torch
    # never returns, and no signal gets through.
    made: list[TCPStore | Exception] = []

    def make() -> None:
        try:
            made.append(_open(host, port, seconds) if opens else _store(host, port, seconds))
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


def _store(host: str, port: int, seconds: float, **options: Any) -> TCPStore:
    limit = timedelta(seconds=seconds)
    return TCPStore(host, port, timeout=limit, wait_for_workers=False, **options)


def _open(host: str, port: int, seconds: float) -> TCPStore:
    if not (host == "localhost" or host.startswith("127.")):
        return _store(host, port, seconds, is_master=True)
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        taken = "EADDRINUSE" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise DistNetworkError(taken) from error
    found: int = listener.getsockname()[1]
    return _store(host, found, seconds, is_master=True, master_listen_fd=listener.detach())


def meet(
    store: Store,
    placement: Placement,
    text: str | None,
    seconds: float,
    secret: str | None = None,
    show: Show = silent,
) -> str:
    """Wait until all ranks are here, and give them rank 0's text.

    Args:
        store: The store of this run.
        placement: Who this process is.
        text: On rank 0, what the others are to get.
        seconds: How long rank 0 waits for the others.
        secret: Of this launch; None if the launch has none; then each process counts.
        show: Shows on rank 0 why it gives up.

    Raises:
        LaunchError: A rank is missing or came twice; on rank 0 it names the ranks. Or a process
            that came as rank 0, or as another rank, does not have the secret.
    """
    room = Room(store, "meeting", secret)
    me = Arrival(placement.rank, placement.size, socket.gethostname())
    number = room.store.add("number", 1)
    nonce = room.say(f"came/{number}", asdict(me))
    if placement.rank or number > placement.size:
        try:
            return obey(room, nonce, 2 * seconds)
        except Unanswered:
            if number <= placement.size:
                raise
            one_more = f"{me} came when all {me.size} processes were there"
            raise LaunchError(f"{one_more}; {_EACH_ITS_OWN}") from None
    assert text is not None
    keys = [f"came/{number}" for number in range(1, placement.size + 1)]
    with contextlib.suppress(DistStoreError):
        wait(room.store, keys, seconds)
    # A process is counted a moment before its name arrives.
    words = [room.hear(name) for name in keys if room.store.check([name])]
    came = [(word, arrival(word.value)) for word in words]
    strangers = [one or "a stranger" for word, one in came if not (word.believed and one)]
    verdict = unproved(named(strangers)) if strangers else ""
    verdict = verdict or absence(me, [one for _, one in came if one], seconds)
    error = LaunchError(verdict) if verdict else None
    decide(room, [word.nonce for word in words], error, text, show)
    return text


def absence(zero: Arrival, came: Sequence[Arrival], seconds: float) -> str:
    """A sentence that says why these are not the processes of one run; empty if they are.

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
