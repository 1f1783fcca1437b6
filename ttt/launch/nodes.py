"""Lets the nodes of one launch meet, before each of them starts torchrun.

The node that has the endpoint's address listens there, the other nodes connect to it, and all get
the same answer: go, or a sentence that says why not. torchrun's own meeting waits ten minutes for a
missing node, does not name it, and mixes the nodes of two launches.

`ttt.launch.messages` has their messages.
"""

import contextlib
import errno
import secrets
import shlex
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ttt import redact
from ttt.errors import ConfigError, LaunchError
from ttt.launch import messages
from ttt.launch.endpoint import Endpoint, is_mine, resolve
from ttt.launch.guests import ANSWER_SECONDS, Guests, send
from ttt.launch.messages import LONGEST, Place, Request

_NAP_SECONDS = 0.2  # between two tries to reach a node that does not listen yet
_OF_A_NODE = ("launcher.procs=", "run_root=")  # settings that may differ between nodes


def meet(
    endpoint: Endpoint,
    nodes: int,
    arguments: Sequence[str],
    seconds: float,
    secret: str | None = None,
) -> Place:
    """Wait until all nodes are here.

    Args:
        endpoint: Where they meet, the same for all.
        nodes: How many.
        arguments: What was typed after `ttt run`, on this node.
        seconds: How long to wait for the others.
        secret: Of this launch (`ttt.distributed.key`); None if the launch has none.

    Raises:
        LaunchError: A node did not come, or another program has the port, or who answers does not
            have the secret.
        ConfigError: The endpoint names no machine, or the nodes were started differently.
    """
    typed = redact.typed(["ttt", "run", *arguments])
    me = Request(socket.gethostname(), nodes, _common(arguments))
    addresses = resolve(endpoint)
    if any(is_mine(family, address) for family, _, _, _, address in addresses):
        try:
            listener = _listen(endpoint.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                why = f"cannot listen on port {endpoint.port} of {me.host}: {error.strerror}"
                raise LaunchError(f"{why}; {_another(endpoint)}") from error
        else:
            with listener:
                return _receive(listener, endpoint, me, typed, seconds, secret)
    return _visit(endpoint, [one[4] for one in addresses], me, seconds, secret)


def _common(arguments: Sequence[str]) -> tuple[str, ...]:
    """The typed words that are the same on all nodes of a launch, with their secrets hidden."""
    words = redact.settings([word for word in arguments if not word.startswith(_OF_A_NODE)])
    return tuple(sorted(words))


def _listen(port: int) -> socket.socket:
    """Listen as torchrun will: on every address."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _another(endpoint: Endpoint) -> str:
    """What to type where a port is taken."""
    setting = f"launcher.rdzv_endpoint={endpoint.another()}"
    return f"another one, on every node: {shlex.quote(setting)}"


def _receive(
    listener: socket.socket,
    endpoint: Endpoint,
    me: Request,
    typed: str,
    seconds: float,
    secret: str | None,
) -> Place:
    """On the endpoint's node: let the others in, and give all of them their answer."""
    print(f"waiting for {me.nodes - 1} more of {me.nodes} nodes at {endpoint}", flush=True)
    with contextlib.closing(Guests(listener, me, typed, secret)) as guests:
        if not guests.gather(seconds):
            hosts = [me.host, *(guest.host for guest in guests.nodes)]
            sentence = messages.absence(endpoint, me.nodes, hosts, guests.refused, seconds)
            sentence = f"{sentence}; the same on every node: {typed}"
            for guest in guests.nodes:
                guests.tell(guest, {"refused": sentence})
            raise LaunchError(sentence)
        launch = uuid.uuid4().hex
        for rank, guest in enumerate(guests.nodes, start=1):
            if rank < me.nodes:
                guests.tell(guest, {"go": asdict(Place(rank, launch))})
            else:
                guests.tell(guest, {"refused": f"the launch at {endpoint} has all of its nodes"})
        return Place(0, launch)


def _visit(
    endpoint: Endpoint,
    addresses: Sequence[Any],
    me: Request,
    seconds: float,
    secret: str | None,
) -> Place:
    """On any other node: go there, and wait for the answer.

    Raises:
        LaunchError: There is no node, or no answer, or not all nodes came.
        ConfigError: This node does not belong to that launch.
    """
    foreign = LaunchError(
        f"port {endpoint.port} of {endpoint.host} is in use by something else than a `ttt run` that"
        " waits for nodes: another program, or a launch that has all of its nodes;"
        f" {_another(endpoint)}"
    )
    with _reach(endpoint, addresses, seconds) as host:
        channel = _Channel(host, str(endpoint), secret)
        channel.send(asdict(me) | ({"nonce": channel.nonce} if secret else {}))
        answer = channel.message(ANSWER_SECONDS) or {}
        if refused := messages.text(answer, "refused"):
            raise ConfigError([refused])
        if messages.text(answer, "wait") is None:
            raise foreign
        print(f"waiting at {endpoint} for the other nodes", flush=True)
        # Rank 0 may have begun to wait later than this node, and then waits longer.
        while (heard := channel.message(seconds + ANSWER_SECONDS)) is not None:
            if refused := messages.text(heard, "refused"):
                raise LaunchError(refused)
            if place := messages.place(heard, me.nodes):
                return place
            if (check := messages.number(heard, "ready")) is None:
                raise foreign
            channel.send({"ready": check})
    raise LaunchError(
        f"`ttt run` at {endpoint} ended before all {me.nodes} nodes were there; look there for"
        " why, and start all of them again"
    )


def _reach(endpoint: Endpoint, addresses: Sequence[Any], seconds: float) -> socket.socket:
    deadline = time.monotonic() + seconds
    while True:
        for address in addresses:
            left = max(_NAP_SECONDS, deadline - time.monotonic())
            try:
                return socket.create_connection(address[:2], min(left, ANSWER_SECONDS))
            except OSError as error:
                reason = error.strerror or str(error)
        if time.monotonic() > deadline:
            raise LaunchError(
                f"no `ttt run` answered at {endpoint} within {seconds:g} s ({reason}); type the"
                f" same `ttt run` on {endpoint.host}, which has to be one of the nodes, and let no"
                f" firewall close its port {endpoint.port}"
            )
        time.sleep(_NAP_SECONDS)


class _Channel:
    """A node's connection to the host of the meeting.

    Args:
        host: The connection.
        where: Of it, for a sentence.
        secret: Of this launch.
    """

    def __init__(self, host: socket.socket, where: str, secret: str | None) -> None:
        self._host, self._where, self._secret = host, where, secret
        self.nonce = secrets.token_hex(16) if secret else ""

    def send(self, message: dict[str, Any]) -> None:
        """Say something."""
        send(self._host, messages.sealed(message, self._secret, "node", self.nonce))

    def message(self, seconds: float) -> dict[str, Any] | None:
        """The next message, an empty one if it is none of ours; None if nothing comes.

        Raises:
            LaunchError: Who says it does not have the secret.
        """
        heard = _message(self._host, seconds)
        if not heard:
            return heard
        proved = messages.unsealed(heard, self._secret, "host", self.nonce)
        if proved is None:
            raise LaunchError(messages.unproved(f"what answers at {self._where}"))
        return proved


def _message(source: socket.socket, seconds: float) -> dict[str, Any] | None:
    """The next message, an empty one if it is none of ours; None if nothing comes."""
    deadline = time.monotonic() + seconds
    text = b""
    while not text.endswith(b"\n") and len(text) < LONGEST:
        if (left := deadline - time.monotonic()) <= 0:
            return None
        source.settimeout(left)
        try:
            part = source.recv(1)
        except OSError:
            return None
        if not part:
            return None
        text += part
    return messages.decode(text)
