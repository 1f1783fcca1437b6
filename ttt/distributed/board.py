"""Notes between the processes of a run, over a store connection that nothing else uses."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from torch.distributed import (  # type: ignore[attr-defined]
    DistNetworkError,
    TCPStore,
)

from ttt.distributed.agreement import ours
from ttt.distributed.lifeline import Lifeline
from ttt.distributed.rendezvous import JOIN_SECONDS, client

T = TypeVar("T")

_SECONDS = 5.0  # to answer; a store that needs longer counts as gone


class StoreBoard:
    """Implements `ttt.protocols.Board` on the run's store.

    Args:
        store: The connection the run was made with; a new one is opened to the same place.
        rank: This process.
        size: Number of processes.
    """

    def __init__(self, store: TCPStore, rank: int, size: int) -> None:
        connection = client(store.host, store.port, JOIN_SECONDS)  # all ranks come at once
        self._store = ours(connection, "board")
        self._store.set_timeout(timedelta(seconds=_SECONDS))
        self.rank, self.size = rank, size
        self._silent = False
        self._lifeline = Lifeline(rank, size)
        self._lifeline.start()

    def put(self, note: str) -> None:
        """Leave this process's note, in place of the one before."""
        self._soon(lambda: self._store.set(str(self.rank), note))

    def notes(self) -> list[str | None]:
        """The latest note of every process; None of one that never left any."""
        return [self._read(str(rank)) for rank in range(self.size)]

    def ring(self) -> None:
        """Tell all processes that nothing moves."""
        self._soon(lambda: self._store.set("alarm", ""))

    def rung(self) -> bool:
        """Whether a process rang."""
        return self._read("alarm") is not None

    def lost(self) -> int | None:
        """A rank whose process has ended, as this process or another one has noticed.

        If the store has closed its connections, that is rank 0, which keeps it.
        """
        mine = self._lifeline.lost
        try:
            if mine is not None:
                self._soon(lambda: self._store.compare_set("lost", "", str(mine)))  # if not set
            known = self._read("lost")
        except DistNetworkError:
            return 0 if mine is None else mine
        return None if known is None else int(known)

    def _read(self, key: str) -> str | None:
        def read() -> str | None:
            return self._store.get(key).decode() if self._store.check([key]) else None

        return self._soon(read)

    def _soon(self, call: Callable[[], T]) -> T:
        """The answer of a call to the store.

        torch's client waits without a limit for some answers (`check`), and a store does not answer
        where rank 0 is stopped.

        Raises:
            TimeoutError: There is none after some seconds, or there was none before.
        """
        found: list[T | Exception] = []

        def work() -> None:
            try:
                found.append(call())
            except Exception as error:
                found.append(error)

        if not self._silent:
            thread = threading.Thread(target=work, name="board", daemon=True)
            thread.start()
            thread.join(_SECONDS)
        if not found:
            self._silent = True
            raise TimeoutError(f"the store of the run does not answer within {_SECONDS:g} s")
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]
