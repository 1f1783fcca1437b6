"""Do names lead to nodes, and nodes to names; are ports free? Knows no torch.

The commonest reason why two nodes do not find each other is a host name that /etc/hosts maps to a
loopback address: rank 0 then listens where no other node can reach it.
"""

import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ttt.doctor.findings import Finding, Observation, failure, names, ok, warning
from ttt.machine import kernel

_PATIENCE_SECONDS = 2.0  # a name server that is there answers in milliseconds
_SLOW_SECONDS = 0.5  # every connection to a peer looks its name up
_TORCHRUN_PORT = 29500  # where torchrun meets by default
_FEW_PORTS = 1000  # gloo and NCCL listen on several per rank, and open several to each peer


@dataclass(frozen=True, slots=True)
class Address:
    """A host name's way to addresses and back.

    Attributes:
        addresses: What the name resolves to.
        names: What each address resolves to; None where it does not.
        seconds: What that took; None if the resolver did not answer in time.
        error: Why there are no addresses.
    """

    addresses: tuple[str, ...] = ()
    names: tuple[str | None, ...] = ()
    seconds: float | None = None
    error: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether only this machine itself can use them."""
        return all(one.startswith("127.") or one == "::1" for one in self.addresses)


@dataclass(frozen=True, slots=True)
class Network:
    """One rank's view.

    Attributes:
        name: What this machine calls itself.
        machine: Differs between machines with one name, and is the same for several nodes of a
            scheduler on one machine.
        own: Where its own name leads.
        ports: Size of the range that sockets get their ports from; None if unknown.
        taken: Whether torchrun's default port is in use here.
    """

    name: str
    machine: str
    own: Address
    ports: int | None
    taken: bool


def look() -> Network:
    """This machine's names and ports."""
    name = os.uname().nodename
    machine, ports = kernel.boot_id() or name, kernel.outgoing_ports()
    return Network(name, machine, resolve(name), ports, _taken(_TORCHRUN_PORT))


def resolve(name: str) -> Address:
    """Look a name up, and its addresses back; gives up on a resolver that does not answer."""
    # In a thread that is left behind: the C library's time-outs are too long to wait for.
    found = [Address(error=f"no answer from the resolver within {_PATIENCE_SECONDS:g} s")]
    thread = threading.Thread(target=lambda: found.append(_resolve(name)), daemon=True)
    thread.start()
    thread.join(_PATIENCE_SECONDS)
    return found[-1]


def judge(seen: Sequence[Observation[Network]], *, launched: bool) -> Iterator[Finding]:
    """Whether every machine can be found by its name, and has ports.

    Args:
        seen: The network of each rank.
        launched: See `judge_ports`.
    """
    yield from judge_names(seen)
    yield from judge_ports(seen, launched=launched)


def judge_names(seen: Sequence[Observation[Network]]) -> Iterator[Finding]:
    """Whether every machine's name leads to an address that its peers can use, and back."""
    machines = {(one.facts.machine, one.facts.name): one.facts for one in seen}
    several = len(machines) > 1
    problems: list[Finding] = []
    same = defaultdict(list)
    for machine, name in machines:
        same[name].append(machine)
    for name, ids in same.items():
        if len(ids) > 1:
            problems.append(
                failure(
                    "host names",
                    f"{len(ids)} machines have the same host name: {name}",
                    "give each machine its own name (hostnamectl set-hostname)",
                    machines=ids,
                )
            )
    for network in machines.values():
        problems += _judge_name(network, several)
    yield from problems
    if not problems:
        listed = [f"{one.name} -> {names(one.own.addresses)}" for one in machines.values()]
        alone = all(one.own.loopback for one in machines.values())
        yield ok(
            "host names",
            names(listed) + (" (loopback: enough for one machine)" if alone else ", and back"),
            names={one.name: one.own.addresses for one in machines.values()},
        )


def _judge_name(network: Network, several: bool) -> Iterator[Finding]:
    own, name = network.own, network.name
    data: dict[str, Any] = {
        "host": name,
        "addresses": own.addresses,
        "names": own.names,
        "seconds": own.seconds,
    }
    data["why"] = {
        "names": "an address has no reverse DNS record",
        "seconds": own.error or "the resolver did not answer",
    }
    fix = f"a line with its address and {name} in every node's /etc/hosts, or a DNS record"
    if own.error:
        report = failure if several else warning
        yield report("host names", f"{name} cannot resolve its own name: {own.error}", fix, **data)
        return
    if own.loopback and several:
        yield failure(
            "host names",
            f"{name} resolves its own name to {names(own.addresses)} alone, where no other node"
            " can reach it",
            f"{fix}; take {name} off the 127.* line",
            **data,
        )
    short = name.partition(".")[0]
    back = [one.partition(".")[0] for one in own.names if one]
    if several and not own.loopback and short not in back:
        yield warning(
            "host names",
            f"{name} -> {names(own.addresses)} -> {names(back) or 'no name'}",
            f"a reverse DNS record (PTR) for {name}: some tools look up the name of a peer",
            **data,
        )
    if own.seconds is not None and own.seconds > _SLOW_SECONDS:
        yield warning(
            "host names",
            f"{name} took {own.seconds:.1f} s to look up its own name and back",
            "check the nameservers in /etc/resolv.conf",
            **data,
        )


def look_rank_zero(seen: Sequence[Observation[Network]]) -> Address | None:
    """Where the name of rank 0's machine leads here; None if all ranks are on that machine.

    Args:
        seen: The network of each rank.
    """
    zero = next((one.facts for one in seen if one.rank == 0), None)
    if zero is None or len({one.facts.machine for one in seen}) == 1:
        return None
    return resolve(zero.name)


def judge_rank_zero(
    seen: Sequence[Observation[Address | None]], machines: Sequence[Observation[Network]]
) -> Iterator[Finding]:
    """Whether every rank can look up the machine of rank 0.

    Args:
        seen: Where that name leads on each rank.
        machines: The network of each rank.
    """
    known = [Observation(one.rank, one.host, one.facts) for one in seen if one.facts]
    if known:
        zero = next(one.facts for one in machines if one.rank == 0)
        near = {one.rank for one in machines if one.facts.machine == zero.machine}
        yield from judge_way_to_rank_zero(zero.name, known, near)


def judge_way_to_rank_zero(
    host: str, seen: Sequence[Observation[Address]], near: Set[int]
) -> Iterator[Finding]:
    """Whether every rank can look up the machine of rank 0.

    Args:
        host: What rank 0's machine calls itself.
        seen: Where that name leads on each rank.
        near: The ranks on rank 0's machine, where loopback addresses are fine.
    """
    lost: Mapping[str, str] = {
        one.host: one.facts.error or f"it resolves to {names(one.facts.addresses)}"
        for one in seen
        if one.rank not in near
        if one.facts.error or one.facts.loopback
    }
    if lost:
        yield warning(
            "rank 0's name",
            f"{host} cannot be found by its name from {names(lost)}: {next(iter(lost.values()))}",
            f"a line with its address and {host} in their /etc/hosts, or export MASTER_ADDR with"
            " an address",
            host=host,
            lost=lost,
        )
    else:
        yield ok("rank 0's name", f"{host} is found from every node", host=host, lost={})


def judge_ports(seen: Sequence[Observation[Network]], *, launched: bool) -> Iterator[Finding]:
    """Whether there are ports to listen on.

    Args:
        seen: The network of each rank.
        launched: A launcher started this, and may itself be what uses torchrun's port.
    """
    few = {
        one.host: one.facts.ports
        for one in seen
        if one.facts.ports is not None and one.facts.ports < _FEW_PORTS
    }
    if few:
        yield warning(
            "ports",
            f"only {min(few.values())} ports for outgoing connections on {names(few)}",
            "sysctl net.ipv4.ip_local_port_range='32768 60999'",
            ports=few,
        )
    elif seen[0].facts.taken and not launched:
        yield warning(
            "ports",
            f"port {_TORCHRUN_PORT} of {seen[0].host}, torchrun's default, is in use",
            f"with several nodes, another one: launcher.rdzv_endpoint={seen[0].host}:29501",
            taken=_TORCHRUN_PORT,
        )
    else:
        ports = seen[0].facts.ports
        count = "unknown number of" if ports is None else ports
        state = "in use (a launcher is running)" if seen[0].facts.taken else "free"
        text = f"{count} ports for outgoing connections;"
        text += f" port {_TORCHRUN_PORT}, torchrun's default, is {state}"
        yield ok(
            "ports", text, ports=ports, why={"ports": f"this system has no {kernel.PORT_RANGE}"}
        )


def _resolve(name: str) -> Address:
    begin = time.monotonic()
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return Address(seconds=time.monotonic() - begin, error=error.strerror or str(error))
    addresses = tuple(dict.fromkeys(str(one[4][0]) for one in found))
    back = tuple(map(_back, addresses))
    return Address(addresses, back, time.monotonic() - begin)


def _back(address: str) -> str | None:
    try:
        return socket.gethostbyaddr(address)[0]
    except OSError:
        return None


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False
