"""Notices at once that another process of the run has ended, while the main thread waits.

When a process dies, the kernel closes its connections, and gloo ends what waits on them with an
error. The main thread meets that error at its next exchange of small values. But a main thread may
never come there: it waits for its GPU, and the GPU for a collective with the dead process. NCCL
notices nothing between GPUs of one node, and torch waits a minute before it acts on what NCCL has
noticed (`Watchdog::runLoop` in torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp). So a
thread of each process waits for a message that the next rank never sends.

A node that loses its power closes no connection; the watchdog's time limit is for that.
"""

import logging
import threading
from datetime import timedelta

import torch
import torch.distributed as dist

_TAG = 0x74_74_74  # no other message between two ranks has it
_FOREVER = timedelta(days=365)


class Lifeline(threading.Thread):
    """Waits until the process of the next rank ends.

    Attributes:
        lost: That rank, once its process has ended; else None.
    """

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(name="lifeline", daemon=True)
        self._next = (rank + 1) % size
        self.lost: int | None = None

    def run(self) -> None:
        """Wait, without Python's lock, until the connection breaks."""
        try:
            work = dist.irecv(torch.zeros(1), src=self._next, tag=_TAG)
        except Exception:  # says nothing of the other process; the watchdog's limits remain
            logging.getLogger(__name__).exception("rank %d is not watched", self._next)
            return
        assert work is not None
        try:
            work.wait(_FOREVER)
        except RuntimeError:  # gloo's: "Connection closed by peer"
            self.lost = self._next
