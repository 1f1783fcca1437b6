"""How the processes of a run meet: rank 0 opens a store, everybody says who he is.

Under torchrun the agent's store is used. Otherwise rank 0 opens one at MASTER_ADDR:MASTER_PORT,
which the SLURM script sets, MPI broadcasts (`ttt.dist.mpi`), or a person exports. Nothing here
falls back to localhost: a process that cannot find rank 0 must say so, not train alone.
"""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Sequence
from datetime import timedelta

import psutil
from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    Store,
    TCPStore,
)

from ttt.dist.rank import Placement
from ttt.errors import LaunchError

JOIN_SECONDS = 60.0
_CONFIG, _VERDICT = "ttt/config", "ttt/verdict"
# Rank 0 composes a configuration before it opens the store; the others may be quicker.
_OPENING_SECONDS = 60.0
_TELL_SECONDS = 1.0  # what rank 0 stays for, so that the others can read why it gives up


class LostRankZero(LaunchError):
    """The same failure as rank 0's, which tells it better."""


def connect(placement: Placement) -> TCPStore:
    """The store of this run.

    Raises:
        LaunchError: There is no address, the port is taken, or rank 0 cannot be reached.
    """
    host, port = address(placement)
    # torchrun's agents have opened it already, and its workers are clients.
    ours = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    opens = ours and placement.rank == 0
    say_which_network(placement, host)
    seconds = JOIN_SECONDS + _OPENING_SECONDS
    try:
        return client(host, port, seconds, opens=opens)
    except (DistNetworkError, DistStoreError) as error:
        reason = str(error).partition("\n")[0]
        if opens:
            raise LaunchError(
                f"rank 0 cannot listen on port {port} of {socket.gethostname()}: {reason};"
                " set MASTER_PORT to a free one"
            ) from error
        raise LaunchError(
            f"rank {placement.rank} on {socket.gethostname()} could not reach rank 0 at"
            f" {host}:{port} within {seconds:g} s: {reason}"
        ) from error


def client(host: str, port: int, seconds: float, *, opens: bool = False) -> TCPStore:
    """A connection of its own to the store: one that waits does not keep another waiting."""
    return TCPStore(host, port, None, opens, timedelta(seconds=seconds), wait_for_workers=False)


def meet(store: Store, placement: Placement, text: str | None, seconds: float) -> str:
    """Wait until everybody is here, and give everybody rank 0's text.

    Args:
        store: The store of this run.
        placement: Who this process is.
        text: On rank 0, what the others are to get.
        seconds: How long rank 0 waits for the others.

    Raises:
        LaunchError: Not everybody came; on rank 0 it names the ranks.
    """
    store.set(_here(placement.rank), socket.gethostname())
    if placement.rank == 0:
        assert text is not None
        store.set(_CONFIG, text)
        keys = [_here(rank) for rank in range(placement.size)]
        with contextlib.suppress(DistStoreError):
            store.wait(keys, timedelta(seconds=seconds))
        verdict = _absent(store, keys, seconds)
        store.set(_VERDICT, verdict)
        if verdict:
            with contextlib.suppress(DistStoreError):  # nobody will answer; the others read
                store.wait(["ttt/never"], timedelta(seconds=_TELL_SECONDS))
            raise LaunchError(verdict)
        return text
    try:
        store.wait([_VERDICT], timedelta(seconds=seconds + _OPENING_SECONDS))
        verdict = store.get(_VERDICT).decode()
    except (DistNetworkError, DistStoreError) as error:
        raise LostRankZero("rank 0 is gone") from error
    if verdict:
        raise LostRankZero(verdict)
    return store.get(_CONFIG).decode()


def _here(rank: int) -> str:
    return f"ttt/here/{rank}"


def _absent(store: Store, keys: Sequence[str], seconds: float) -> str:
    """A sentence naming the ranks that did not come; empty if all did."""
    came = [store.check([key]) for key in keys]
    if all(came):
        return ""
    absent = [rank for rank, here in enumerate(came) if not here]
    hosts = {store.get(key).decode() for key, here in zip(keys, came, strict=True) if here}
    plural, shown = "s" if len(absent) > 1 else "", ", ".join(map(str, absent[:20]))
    more = f" and {len(absent) - 20} more" if len(absent) > 20 else ""
    return (
        f"{len(absent)} of {len(keys)} ranks did not come within {seconds:g} s: rank{plural}"
        f" {shown}{more}; ranks came from {', '.join(sorted(hosts)[:20])}"
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
    with contextlib.suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # nothing is sent: this only asks for a route
        mine = probe.getsockname()[0]
        for name, addresses in psutil.net_if_addrs().items():
            if not mine.startswith("127.") and any(one.address == mine for one in addresses):
                os.environ["GLOO_SOCKET_IFNAME"] = name
