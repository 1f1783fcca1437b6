"""Lets processes agree over the store before a group exists: rank 0 decides, the others follow.

If one process failed alone, the others would wait in torch for half an hour. So each process
reports what it found. If rank 0 finds a fault in a report, all processes fail with its sentence.

Anybody who reaches the store can write into it. With a secret (`ttt.distributed.key`) only messages
of processes with this secret count. Each process sends a random number, and rank 0's answer repeats
the numbers of all. Both carry an HMAC, so messages of an earlier launch do not count either.
"""

import contextlib
import json
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    PrefixStore,
    Store,
)

from ttt.distributed import key
from ttt.distributed.rank import Placement
from ttt.errors import ConfigError, LaunchError, TttError

Show = Callable[[TttError], None]

_VERDICT = "verdict"
_TELL_SECONDS = 1.0  # what rank 0 stays for, so that the others can read why it gives up
_NAMED = 20  # ranks or hosts in a sentence


class _Hush:
    """Within it, torch prints nothing: it adds lines of its own to every time-out and refusal.

    Threads may be in it at once: the last one to leave gives stderr back.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._kept = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            sys.stderr.flush()
            self._kept = os.dup(2)
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 2)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                os.dup2(self._kept, 2)
                os.close(self._kept)


HUSH = _Hush()


def silent(error: TttError) -> None:
    """Show nothing: the program that started this process shows its failure."""


class LostRankZero(LaunchError):
    """The same failure as rank 0's; rank 0 has the better sentence."""


class Unanswered(LaunchError):
    """Rank 0's answer does not include this process."""


def ours(store: Store, room: str) -> PrefixStore:
    """A part of the store that no other launch and no earlier start of this one has written to.

    torchrun's agents keep their store from one start of the workers to the next, and share it
    with every launch at their endpoint.
    """
    return PrefixStore(_place(room), store)


def _place(room: str) -> str:
    launch = os.environ.get("TORCHELASTIC_RUN_ID", "")
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return f"ttt/{launch}/{start}/{room}"


@dataclass(frozen=True, slots=True)
class Word:
    """A message in a room.

    Attributes:
        value: Its content; None if it is no message of ttt.
        nonce: The random number that came with the message.
        believed: Whether its sender has the secret of this process, or neither has one.
    """

    value: Any
    nonce: str
    believed: bool


class Room:
    """A part of the store, where messages count only with the proof of a secret.

    Args:
        store: The store of this run.
        name: Of the room.
        secret: Of this launch; None if the launch has none.
    """

    def __init__(self, store: Store, name: str, secret: str | None) -> None:
        self.store = ours(store, name)
        self._place, self._secret = _place(name), secret

    def say(self, name: str, value: Any) -> str:
        """Leave a message that JSON can carry; returns its random number."""
        text, nonce = json.dumps(value), secrets.token_hex(16)
        proof = key.proof(self._secret, self._place, name, nonce, text)
        self.store.set(name, json.dumps([text, nonce, proof]))
        return nonce

    def hear(self, name: str) -> Word:
        """The message under this name, from any sender."""
        try:
            text, nonce, proof = json.loads(self.store.get(name))
            value = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            return Word(None, "", believed=False)
        if not isinstance(nonce, str):
            return Word(None, "", believed=False)
        words = (self._place, name, nonce, text)
        return Word(value, nonce, believed=key.proves(self._secret, proof, *words))


def agree(
    store: Store,
    placement: Placement,
    mine: Any,
    judge: Callable[[list[Any]], list[str]],
    seconds: float,
    secret: str | None = None,
    show: Show = silent,
) -> None:
    """Send a report to rank 0; if rank 0 finds a problem in a report, all processes fail.

    Args:
        store: The store of this run.
        placement: Who this process is.
        mine: What it says; JSON can carry it.
        judge: On rank 0, the problems in the values of all processes, in rank order.
        seconds: How long rank 0 waits for the others.
        secret: Of this launch.
        show: Shows on rank 0 why it gives up.

    Raises:
        ConfigError: On rank 0: the problems.
        LaunchError: A process sent nothing, or sent it without the secret; or rank 0 found problems
            (on the others).
    """
    room = Room(store, "agreement", secret)
    nonce = room.say(f"report/{placement.rank}", mine)
    if placement.rank:
        obey(room, nonce, 2 * seconds)
        return
    keys = [f"report/{rank}" for rank in range(placement.size)]
    with contextlib.suppress(DistStoreError):
        wait(room.store, keys, seconds)
    silent = [rank for rank, name in enumerate(keys) if not room.store.check([name])]
    if silent:
        gone = LaunchError(f"ranks {named(silent)} are gone or stuck; see their logs")
        decide(room, [], gone, show=show)
    words = [room.hear(name) for name in keys]
    nonces = [word.nonce for word in words]
    strange = [rank for rank, word in enumerate(words) if not word.believed]
    if strange:
        who = f"rank{'s' if len(strange) > 1 else ''} {named(strange)}"
        decide(room, nonces, LaunchError(unproved(who)), show=show)
    problems = judge([word.value for word in words])
    decide(room, nonces, ConfigError(problems) if problems else None, show=show)


def unproved(who: str) -> str:
    """A sentence on a message without proof, for the process that reads it."""
    return (
        f"the message in the name of {who} does not prove {key.VARIABLE}, and is not used; set the"
        f" same {key.VARIABLE} for every process, or for none; if that is so, another program has"
        " reached the port of rank 0"
    )


def decide(
    room: Room,
    nonces: Iterable[str],
    error: TttError | None,
    text: str = "",
    show: Show = silent,
) -> None:
    """On rank 0: tell the others, and raise the error if there is one.

    Rank 0 shows it first: when the others know, they end, and their launcher ends rank 0.

    Args:
        room: What only these processes use, for this decision.
        nonces: Those of whom it answers.
        error: Why rank 0 gives up; None where all is well.
        text: What else it has to say where all is well.
        show: Shows why it gives up.
    """
    if error:
        show(error)
    verdict = {"error": str(error), "code": error.exit_code} if error else {"text": text}
    room.say(_VERDICT, verdict | {"to": list(nonces)})
    if error:
        with contextlib.suppress(DistStoreError):  # nothing comes; the others read meanwhile
            wait(room.store, ["never"], _TELL_SECONDS)
        raise error


def obey(room: Room, nonce: str, seconds: float) -> str:
    """On the others: wait for what rank 0 decides.

    Args:
        room: The same as rank 0's.
        nonce: Of the value that this process sent.
        seconds: How long to wait.

    Returns:
        What rank 0 has to say where all is well.

    Raises:
        LostRankZero: It gives up, or is gone.
        LaunchError: The answer came without the secret, or was an answer to other ranks.
    """
    try:
        wait(room.store, [_VERDICT], seconds)
        verdict = room.hear(_VERDICT)
    except (DistNetworkError, DistStoreError) as error:
        raise LostRankZero("rank 0 is gone") from error
    if not verdict.believed or not isinstance(verdict.value, dict):
        raise LaunchError(unproved("rank 0"))
    reason, code, to, text = map(verdict.value.get, ("error", "code", "to", "text"))
    if isinstance(reason, str) and isinstance(code, int):
        lost = LostRankZero(reason)
        lost.exit_code = code
        raise lost
    if isinstance(to, list) and nonce in to and isinstance(text, str):
        return text
    raise Unanswered(unproved("rank 0"))


def wait(store: Store, keys: Sequence[str], seconds: float) -> None:
    """Wait until all of these keys are there.

    Raises:
        DistStoreError: They are not, after so many seconds.
    """
    with HUSH:
        store.wait(list(keys), timedelta(seconds=seconds))


def named(items: Sequence[object]) -> str:
    """A list for a sentence, cut where it gets long."""
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return ", ".join(map(str, items[:_NAMED])) + more
