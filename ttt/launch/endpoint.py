"""The endpoint where the nodes of a launch meet: how it is typed, and which machine has it."""

import contextlib
import re
import socket
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ttt.errors import ConfigError, fault

_HOST = re.compile(r"[\w.-]+")  # what torchrun takes, without IPv6 addresses
_PORTS = range(1, 2**16)
_ANSWER_SECONDS = 5.0  # for a resolver that is there


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where nodes meet.

    Attributes:
        host: A name or an address, an IPv6 one without brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """As it is typed."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def another(self) -> "Endpoint":
        """One to try where the port is taken."""
        return Endpoint(self.host, self.port % _PORTS[-1] + 1)

    @property
    def loopback(self) -> bool:
        """Whether it leads every machine to itself."""
        with contextlib.suppress(ValueError):
            return ip_address(self.host).is_loopback
        return self.host == "localhost"


def parse(text: str | None) -> Endpoint | None:
    """The endpoint that was typed, as torchrun takes it; None if the text is no endpoint.

    An address must belong to one machine: not to all, to none, or to a zone, which each machine
    names otherwise.
    """
    host, _, port = (text or "").rpartition(":")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) not in _PORTS:
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    try:
        address = ip_address(bare)
    except ValueError:
        return None if bracketed or not _HOST.fullmatch(bare) else Endpoint(bare, int(port))
    good = bracketed == (address.version == 6) and "%" not in bare
    good = good and not (address.is_unspecified or address.is_multicast)
    return Endpoint(str(address), int(port)) if good else None


def problem(text: str | None) -> str | None:
    """What is wrong with an endpoint as it is typed; None if nothing is."""
    if parse(text):
        return None
    return fault(
        "launcher.rdzv_endpoint",
        text,
        "is no place where nodes can meet",
        allowed="HOST:PORT or [IPv6]:PORT, one of the nodes and a port from"
        f" {_PORTS[0]} to {_PORTS[-1]}, the same on every node",
        typed="node1:29500",
    )


def resolve(endpoint: Endpoint) -> list[Any]:
    """The endpoint's addresses, as `socket.getaddrinfo` gives them.

    Raises:
        ConfigError: It names no machine, or the resolver does not answer.
    """
    # In a thread that is left behind: a resolver that does not answer takes the C library minutes.
    found: list[Any] = [f"no answer from the resolver within {_ANSWER_SECONDS:g} s"]

    def look() -> None:
        name, port = endpoint.host, endpoint.port
        try:
            found.append(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error.strerror or str(error))
        except UnicodeError:  # a label that is too long cannot be encoded
            found.append("no name that a machine can have")

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    if isinstance(answer := found[-1], list):
        return answer
    raise ConfigError(
        [
            fault(
                "launcher.rdzv_endpoint",
                endpoint,
                f"names no machine that {socket.gethostname()} knows ({answer})",
                allowed="the name or the address of one of the nodes",
                typed=f"ADDRESS:{endpoint.port}",
            )
        ]
    )


def is_mine(family: int, address: Any) -> bool:
    """Whether an address is one of this machine's: only then can a socket be bound to it.

    Args:
        family: Of the address.
        address: As `resolve` gives it.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError:
            return False
    return True
