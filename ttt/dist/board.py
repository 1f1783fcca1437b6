"""Notes between the processes of a run, over a store connection that nothing else uses."""

import contextlib
from datetime import timedelta

from torch.distributed import DistStoreError, TCPStore  # type: ignore[attr-defined]

from ttt.dist.agreement import ours
from ttt.dist.meeting import JOIN_SECONDS, client

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

    def put(self, note: str) -> None:
        """Leave this process's note, in place of the one before."""
        self._store.set(str(self.rank), note)

    def notes(self) -> list[str | None]:
        """The latest note of every process; None of one that never left any."""
        found: list[str | None] = [None] * self.size
        for rank in range(self.size):
            with contextlib.suppress(DistStoreError):
                if self._store.check([str(rank)]):
                    found[rank] = self._store.get(str(rank)).decode()
        return found

    def ring(self) -> None:
        """Tell everybody that nothing moves."""
        self._store.set("alarm", "")

    def rung(self) -> bool:
        """Whether somebody did."""
        return bool(self._store.check(["alarm"]))
