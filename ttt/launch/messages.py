"""The messages that the nodes of one launch exchange before they start torchrun.

A message is a line of JSON, and it may come from any program: only a message of exactly the
right shape counts.

    node      the endpoint's node
    Request
              {"wait": its host}, or {"refused": why}
              {"ready": number}                          once enough nodes are there
    {"ready": number}
              {"go": Place}, or {"refused": why}         or "ready" again, if another node left

With a secret (`ttt.distributed.key`) each message has a "proof", and the first one of a node a
"nonce", a random number that goes into the proofs of all that follow.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ttt.distributed import key
from ttt.errors import one_line
from ttt.launch.endpoint import Endpoint

LONGEST = 1 << 16  # bytes of a message
_HOST = 255  # characters of a host's name
_NODES = range(1, 1 << 31)
_NAMED = 20  # nodes in a sentence


@dataclass(frozen=True, slots=True)
class Request:
    """What a node says of itself.

    Attributes:
        host: Its name.
        nodes: How many nodes it expects.
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


def encode(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """A message that came; an empty one if it is no JSON object."""
    try:
        heard = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return heard if isinstance(heard, dict) else {}


def sealed(message: dict[str, Any], secret: str | None, side: str, nonce: str) -> dict[str, Any]:
    """A message with its proof; as it is without a secret.

    Args:
        message: What is sent.
        secret: Of this launch.
        side: Who says it: "host", where all meet, or "node".
        nonce: Of this connection.
    """
    if secret is None:
        return message
    return message | {"proof": key.proof(secret, side, nonce, _fixed(message))}


def unsealed(
    heard: dict[str, Any], secret: str | None, side: str, nonce: str
) -> dict[str, Any] | None:
    """A message without its proof; None if the proof is wrong, or if only the sender has a secret.

    Args:
        heard: The message that came.
        secret: Of this launch.
        side: Which side should have sent it.
        nonce: Of this connection.
    """
    message = {name: value for name, value in heard.items() if name != "proof"}
    try:
        words = (side, nonce, _fixed(message))
    except RecursionError:
        return None
    return message if key.proves(secret, heard.get("proof", ""), *words) else None


def _fixed(message: dict[str, Any]) -> str:
    """A message as the same text on every node."""
    return json.dumps(message, sort_keys=True)


def request(heard: dict[str, Any]) -> Request | None:
    """What a node says of itself; None if this is no such message."""
    host, nodes, words = heard.get("host"), heard.get("nodes"), heard.get("words")
    if not isinstance(host, str) or len(host) > _HOST:
        return None
    if type(nodes) is not int or nodes not in _NODES:  # a bool is an int too
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return Request(one_line(host), nodes, tuple(words))


def place(heard: dict[str, Any], nodes: int) -> Place | None:
    """The place that a node of so many gets; None if this is no such message."""
    go = heard.get("go")
    if not isinstance(go, dict):
        return None
    rank, launch = go.get("rank"), go.get("launch")
    if type(rank) is not int or rank not in range(1, nodes):
        return None
    if not isinstance(launch, str) or not (launch.isascii() and launch.isalnum()):
        return None
    return Place(rank, launch)


def text(heard: dict[str, Any], name: str) -> str | None:
    """The words under this name; None if there are none."""
    value = heard.get(name)
    return one_line(value) if isinstance(value, str) else None


def number(heard: dict[str, Any], name: str) -> int | None:
    """The number under this name; None if there is none."""
    value = heard.get(name)
    return value if type(value) is int else None


def difference(me: Request, other: Request) -> str | None:
    """Why a node does not belong to this launch; None if it does.

    Args:
        me: The node where all meet.
        other: The one that came.
    """
    if me.nodes != other.nodes:
        return f"{other.host} has launcher.nodes={other.nodes}, and {me.host} {me.nodes}"
    mine = one_line(shlex.join([word for word in me.words if word not in other.words]))
    its = one_line(shlex.join([word for word in other.words if word not in me.words]))
    if not (mine or its):
        return None
    return f"{other.host} was started with {its or 'less'}, and {me.host} with {mine or 'less'}"


def unproved(who: str) -> str:
    """A sentence on messages that do not count."""
    return (
        f"{who} does not prove {key.VARIABLE}, and its messages are not used; set the same"
        f" {key.VARIABLE} on every node, or on none; if that is so, another program has the port"
    )


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
    heard = f"{len(hosts)} of {nodes} nodes came to {endpoint} within {seconds:g} s:"
    heard += f" {', '.join(hosts[:_NAMED])}{more}"
    if refused:
        heard += f" ({'; '.join(refused)})"
    if endpoint.loopback:
        heard += f"; {endpoint.host} leads every machine to itself: other machines need its address"
    return heard
