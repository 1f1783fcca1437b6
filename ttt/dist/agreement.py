"""How processes agree over the store, before there is any group: rank 0 decides, all others obey.

A process that fails by itself leaves the others waiting in torch for half an hour. So each says
what it found, and if rank 0 finds anything wrong with that, all of them fail with its words.
"""

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    DistStoreError,
    PrefixStore,
    Store,
)

from ttt.dist.rank import Placement
from ttt.errors import ConfigError, LaunchError, TttError

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


class LostRankZero(LaunchError):
    """The same failure as rank 0's, which tells it better."""


def ours(store: Store, room: str) -> PrefixStore:
    """A part of the store that no other launch and no earlier start of this one has written to.

    torchrun's agents keep theirs from one start of the workers to the next, and share it with
    every launch at their endpoint.
    """
    launch = os.environ.get("TORCHELASTIC_RUN_ID", "")
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"ttt/{launch}/{start}/{room}", store)


def agree(
    store: Store,
    placement: Placement,
    mine: Any,
    judge: Callable[[list[Any]], list[str]],
    seconds: float,
) -> None:
    """Tell rank 0 something, and fail together with all others if it finds a problem in it.

    Args:
        store: The store of this run.
        placement: Who this process is.
        mine: What it says; JSON can carry it.
        judge: On rank 0, the problems in what all of them said, in rank order.
        seconds: How long rank 0 waits for the others.

    Raises:
        ConfigError: On rank 0: the problems.
        LaunchError: Some said nothing; on the others also: rank 0 found problems.
    """
    store = ours(store, "agreement")
    store.set(f"said/{placement.rank}", json.dumps(mine))
    if placement.rank:
        obey(store, 2 * seconds)
        return
    keys = [f"said/{rank}" for rank in range(placement.size)]
    with contextlib.suppress(DistStoreError):
        wait(store, keys, seconds)
    silent = [rank for rank, key in enumerate(keys) if not store.check([key])]
    if silent:
        decide(store, LaunchError(f"ranks {named(silent)} are gone or stuck; see their logs"))
    problems = judge([json.loads(store.get(key)) for key in keys])
    decide(store, ConfigError(problems) if problems else None)


def decide(store: Store, error: TttError | None) -> None:
    """On rank 0: tell the others, and raise the error if there is one.

    Args:
        store: What only these processes use, for this decision.
        error: Why rank 0 gives up; None where all is well.
    """
    verdict = {"text": str(error), "code": error.exit_code} if error else {}
    store.set(_VERDICT, json.dumps(verdict))
    if error:
        with contextlib.suppress(DistStoreError):  # nothing comes; the others read meanwhile
            wait(store, ["never"], _TELL_SECONDS)
        raise error


def obey(store: Store, seconds: float) -> None:
    """On the others: wait for what rank 0 decides.

    Args:
        store: The same as rank 0's.
        seconds: How long to wait.

    Raises:
        LostRankZero: It gives up, or is gone.
    """
    try:
        wait(store, [_VERDICT], seconds)
        verdict = json.loads(store.get(_VERDICT))
    except (DistNetworkError, DistStoreError) as error:
        raise LostRankZero("rank 0 is gone") from error
    if verdict:
        lost = LostRankZero(verdict["text"])
        lost.exit_code = verdict["code"]
        raise lost


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
