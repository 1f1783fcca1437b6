"""The connections to the endpoint where the nodes of a launch meet: nodes and other programs."""

import contextlib
import math
import secrets
import selectors
import socket
import time
from dataclasses import dataclass
from typing import Any

from ttt.launch import messages
from ttt.launch.messages import LONGEST, Request

ANSWER_SECONDS = 5.0  # for a node or a listener that is there
_STRANGERS = 64  # connections that have sent nothing yet
_REFUSED = 10  # nodes sent away, in a sentence
_REASON = 1000  # characters of why


@dataclass(slots=True, eq=False)
class Guest:
    """A connection to the endpoint.

    Attributes:
        socket: It never blocks.
        deadline: When an answer is due, by `time.monotonic`; infinite if none is.
        text: The part of a line that has come.
        host: Its name, once it is known as a node.
        nonce: Of this connection, by the node.
        ready: The last check that it answered.
    """

    socket: socket.socket
    deadline: float
    text: bytes = b""
    host: str = ""
    nonce: str = ""
    ready: int = 0


class Guests:
    """All guests: each is read when it sends something, so a silent guest delays no other.

    Attributes:
        nodes: Those that belong to the launch, in order of arrival; there may be some too many.
        refused: Why other guests were sent away.
    """

    def __init__(
        self, listener: socket.socket, me: Request, typed: str, secret: str | None = None
    ) -> None:
        self.nodes: list[Guest] = []
        self.refused: list[str] = []
        self._strangers: list[Guest] = []
        self._checked: list[Guest] = []  # who was asked whether it is still there
        self._check = secrets.randbits(32)  # random: no guest can answer before the question
        self._listener, self._me, self._typed = listener, me, typed
        self._secret = secret
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def gather(self, seconds: float) -> bool:
        """Whether all nodes came in time, and all were still there when the last one came."""
        end = time.monotonic() + seconds
        while not self._complete():
            now = time.monotonic()
            # A check that has begun is ended: its nodes did come in time.
            if now >= end and all(guest.deadline == math.inf for guest in self._checked):
                return False
            due = [guest.deadline for guest in (*self._strangers, *self.nodes)]
            self._listen(max(0.0, min([*due, end if now < end else math.inf]) - now))
            self._clear()
            self._ask()
        return True

    def tell(self, guest: Guest, message: dict[str, Any]) -> None:
        """Send a message to a guest, who may be gone."""
        send(guest.socket, messages.sealed(message, self._secret, "host", guest.nonce))

    def close(self) -> None:
        """Close all connections."""
        for guest in (*self._strangers, *self.nodes):
            guest.socket.close()
        self._selector.close()

    def _complete(self) -> bool:
        wanted = self.nodes[: self._me.nodes - 1]
        ready = all(guest.ready == self._check for guest in wanted)
        return ready and len(wanted) == self._me.nodes - 1 and wanted == self._checked

    def _listen(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data:
                self._read(key.data)
                continue
            with contextlib.suppress(OSError):  # it may be gone again
                guest = Guest(self._listener.accept()[0], time.monotonic() + ANSWER_SECONDS)
                guest.socket.setblocking(False)
                self._selector.register(guest.socket, selectors.EVENT_READ, guest)
                self._strangers.append(guest)

    def _clear(self) -> None:
        """Drop guests that did not answer in time, and the oldest of too many strangers."""
        now = time.monotonic()
        late = [guest for guest in (*self._strangers, *self.nodes) if guest.deadline <= now]
        for guest in {*late, *self._strangers[:-_STRANGERS]}:
            self._dismiss(guest)

    def _ask(self) -> None:
        """Once enough nodes are here, ask them whether they still are."""
        wanted = self.nodes[: self._me.nodes - 1]
        if wanted == self._checked:
            return
        self._checked = []
        if len(wanted) < self._me.nodes - 1:
            return
        self._checked = wanted
        self._check += 1
        for guest in wanted:
            guest.deadline = time.monotonic() + ANSWER_SECONDS
            self.tell(guest, {"ready": self._check})

    def _read(self, guest: Guest) -> None:
        try:
            part = guest.socket.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        *lines, guest.text = (guest.text + part).split(b"\n")
        good = all(self._hear(guest, messages.decode(line)) for line in lines)
        if not (good and part and len(guest.text) < LONGEST):
            self._dismiss(guest)

    def _hear(self, guest: Guest, heard: dict[str, Any]) -> bool:
        """Whether a guest may stay, after this message of its own."""
        if guest in self.nodes:
            proved = messages.unsealed(heard, self._secret, "node", guest.nonce)
            check = messages.number(proved or {}, "ready")
            if check == self._check:
                guest.ready, guest.deadline = check, math.inf
            return check is not None
        request = messages.request(heard)
        nonce = heard.get("nonce", "")
        if not request or not isinstance(nonce, str):
            return False
        guest.nonce = nonce
        if messages.unsealed(heard, self._secret, "node", nonce) is None:
            return self._refuse(guest, messages.unproved(request.host))
        if sentence := messages.difference(self._me, request):
            return self._refuse(guest, f"{sentence}; type it as there: {self._typed}", sentence)
        self.tell(guest, {"wait": self._me.host})
        self._strangers.remove(guest)
        self.nodes.append(guest)
        guest.host, guest.deadline = request.host, math.inf
        return True

    def _refuse(self, guest: Guest, sentence: str, kept: str | None = None) -> bool:
        """Send a guest away with a sentence, and remember the sentence; always false."""
        reason = (kept or sentence)[:_REASON]
        if reason not in self.refused:
            self.refused = [*self.refused, reason][:_REFUSED]
        self.tell(guest, {"refused": sentence})
        return False

    def _dismiss(self, guest: Guest) -> None:
        (self.nodes if guest in self.nodes else self._strangers).remove(guest)
        self._selector.unregister(guest.socket)
        guest.socket.close()


def send(to: socket.socket, message: dict[str, Any]) -> None:
    """Send a message, to one who may be gone."""
    with contextlib.suppress(OSError):
        to.sendall(messages.encode(message))
