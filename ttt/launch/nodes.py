"""How the nodes of one launch meet, before each of them starts torchrun.

The node that has the endpoint's address listens there, the others come to it, and all get the same
answer: go, or a sentence that says why not. torchrun's own meeting waits ten minutes for a node
that does not come, does not name it, and takes the nodes of two launches for those of one.

A message is a line of JSON. Every node sends a `Request`; the answer is "wait", and later "go" with
the node's number, or "refused" with a sentence.
"""

import contextlib
import errno
import json
import selectors
import shlex
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ttt.errors import ConfigError, LaunchError
from ttt.launch.endpoint import Endpoint, is_mine, resolve

_ANSWER_SECONDS = 5.0  # for a node or a listener that is there
_NAP_SECONDS = 0.2  # between two tries to reach a node that does not listen yet
_LONGEST = 1 << 16  # bytes of a message
_OF_A_NODE = ("launcher.procs=", "run_root=")  # settings that may differ between nodes
_NAMED = 20  # nodes in a sentence


@dataclass(frozen=True, slots=True)
class Request:
    """What a node says of itself.

    Attributes:
        host: Its name.
        nodes: How many it was told there are.
        words: What was typed after `ttt run`, without the settings that may differ between nodes.
    """

    host: str
    nodes: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Which node of a launch this is.

    Attributes:
        rank: 0, where the endpoint is, to nodes - 1.
        launch: A name that no other launch has.
    """

    rank: int
    launch: str


def meet(endpoint: Endpoint, nodes: int, arguments: Sequence[str], seconds: float) -> Place:
    """Wait until all nodes are here.

    Args:
        endpoint: Where they meet, the same for all.
        nodes: How many.
        arguments: What was typed after `ttt run`, on this node.
        seconds: How long to wait for the others.

    Raises:
        LaunchError: Somebody did not come, or something else has the port.
        ConfigError: The endpoint names no machine, or the nodes were started differently.
    """
    typed = shlex.join(["ttt", "run", *arguments])
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
                return _receive(listener, endpoint, me, typed, seconds)
    return _visit(endpoint, [one[4] for one in addresses], me, seconds)


def _common(arguments: Sequence[str]) -> tuple[str, ...]:
    """The words that all nodes of a launch have in common."""
    return tuple(sorted(word for word in arguments if not word.startswith(_OF_A_NODE)))


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
    listener: socket.socket, endpoint: Endpoint, me: Request, typed: str, seconds: float
) -> Place:
    """On the endpoint's node: let the others in, and give all of them their answer."""
    print(f"waiting for {me.nodes - 1} more of {me.nodes} nodes at {endpoint}", flush=True)
    guests: dict[socket.socket, str] = {}
    refused: list[str] = []
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while len(guests) + 1 < me.nodes and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                if key.fileobj is not listener:  # a guest says nothing more: it is gone
                    selector.unregister(key.fileobj)
                    del guests[key.fileobj]  # type: ignore[arg-type]
                    continue
                guest = stack.enter_context(listener.accept()[0])
                request = _ask(guest)
                sentence = request and difference(me, request)
                if request and not sentence and len(guests) + 1 < me.nodes:
                    _send(guest, {"wait": me.host})
                    selector.register(guest, selectors.EVENT_READ)
                    guests[guest] = request.host
                    continue
                if sentence:
                    refused.append(sentence)
                    _send(guest, {"refused": f"{sentence}; type it as there: {typed}"})
                guest.close()
        if len(guests) + 1 < me.nodes:
            hosts = [me.host, *guests.values()]
            sentence = absence(endpoint, me.nodes, hosts, refused, seconds)
            sentence = f"{sentence}; the same on every node: {typed}"
            for guest in guests:
                _send(guest, {"refused": sentence})
            raise LaunchError(sentence)
        launch = uuid.uuid4().hex
        for rank, guest in enumerate(guests, start=1):
            _send(guest, {"go": asdict(Place(rank, launch))})
        return Place(0, launch)


def difference(me: Request, other: Request) -> str | None:
    """Why a node is none of this launch; None if it is.

    Args:
        me: The node where all meet.
        other: The one that came.
    """
    if me.nodes != other.nodes:
        return f"{other.host} has launcher.nodes={other.nodes}, and {me.host} {me.nodes}"
    mine = shlex.join([word for word in me.words if word not in other.words])
    its = shlex.join([word for word in other.words if word not in me.words])
    if not (mine or its):
        return None
    return f"{other.host} was started with {its or 'less'}, and {me.host} with {mine or 'less'}"


def absence(
    endpoint: Endpoint, nodes: int, hosts: Sequence[str], refused: Sequence[str], seconds: float
) -> str:
    """A sentence about the nodes that did not come.

    Args:
        endpoint: Where they were to meet.
        nodes: How many there should be.
        hosts: Those that are here.
        refused: Why others were sent away.
        seconds: How long it took.
    """
    more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
    said = f"{len(hosts)} of {nodes} nodes came to {endpoint} within {seconds:g} s:"
    said += f" {', '.join(hosts[:_NAMED])}{more}"
    if refused:
        said += f" ({'; '.join(dict.fromkeys(refused))})"
    if endpoint.loopback:
        said += f"; {endpoint.host} leads every machine to itself: other machines need its address"
    return said


def _visit(endpoint: Endpoint, addresses: Sequence[Any], me: Request, seconds: float) -> Place:
    """On any other node: go there, and wait for the answer.

    Raises:
        LaunchError: There is no node, or no answer, or not all nodes came.
        ConfigError: This one is none of that launch.
    """
    with _reach(endpoint, addresses, seconds) as host:
        _send(host, asdict(me))
        answer = _message(host, _ANSWER_SECONDS)
        if answer is None:
            raise LaunchError(
                f"port {endpoint.port} of {endpoint.host} is in use by something else than a"
                " `ttt run` that waits for nodes: another program, or a launch that has all of its"
                f" nodes; {_another(endpoint)}"
            )
        if "refused" in answer:
            raise ConfigError([_printable(answer["refused"])])
        print(f"waiting at {endpoint} for the other nodes", flush=True)
        # Rank 0 may have begun to wait later than this node, and then waits longer.
        verdict = _message(host, seconds + _ANSWER_SECONDS)
    if verdict is None:
        raise LaunchError(
            f"`ttt run` at {endpoint} ended before all {me.nodes} nodes were there; look there for"
            " why, and start all of them again"
        )
    if "refused" in verdict:
        raise LaunchError(_printable(verdict["refused"]))
    return Place(**verdict["go"])


def _reach(endpoint: Endpoint, addresses: Sequence[Any], seconds: float) -> socket.socket:
    deadline = time.monotonic() + seconds
    while True:
        for address in addresses:
            left = max(_NAP_SECONDS, deadline - time.monotonic())
            try:
                return socket.create_connection(address[:2], min(left, _ANSWER_SECONDS))
            except OSError as error:
                reason = error.strerror or str(error)
        if time.monotonic() > deadline:
            raise LaunchError(
                f"no `ttt run` answered at {endpoint} within {seconds:g} s ({reason}); type the"
                f" same `ttt run` on {endpoint.host}, which has to be one of the nodes, and let no"
                f" firewall close its port {endpoint.port}"
            )
        time.sleep(_NAP_SECONDS)


def _ask(guest: socket.socket) -> Request | None:
    """What a node says of itself; None if it is none of ours."""
    said = _message(guest, _ANSWER_SECONDS)
    try:
        assert said is not None
        words = tuple(_printable(word) for word in said["words"])
        return Request(_printable(said["host"]), int(said["nodes"]), words)
    except (AssertionError, KeyError, TypeError, ValueError):
        return None


def _printable(text: Any) -> str:
    """What came over the network, without what would steer a terminal."""
    return "".join(one if one.isprintable() else "?" for one in str(text))


def _send(to: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # who is gone needs no answer
        to.sendall(json.dumps(message).encode() + b"\n")


def _message(source: socket.socket, seconds: float) -> dict[str, Any] | None:
    """The next message; None if nothing comes, or none of ours."""
    deadline = time.monotonic() + seconds
    text = b""
    while not text.endswith(b"\n") and len(text) < _LONGEST:
        source.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            part = source.recv(1)
        except OSError:
            return None
        if not part:
            return None
        text += part
    try:
        said = json.loads(text)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
