"""Where rank 0 is, and by which network it is reached."""

import contextlib
import os
import re
import socket
import subprocess
from ipaddress import ip_address

import psutil

from ttt.distributed.rank import Placement
from ttt.errors import LaunchError

LOOPBACK = "127.0.0.1"


def one_node(placement: Placement) -> bool:
    """Whether all processes are on this node."""
    return placement.local_size == placement.size


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
        _take_network_of(mine)


def _take_network_of(mine: str) -> None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == mine for one in addresses):
            os.environ["GLOO_SOCKET_IFNAME"] = name
