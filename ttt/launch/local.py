"""One process, started fresh for every run, with the terminal left to it: breakpoints work."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from ttt.distributed.rank import to_go_on
from ttt.launch.devices import device_problems
from ttt.launch.job import Job, one_by_one
from ttt.launch.process import supervise, worker_environment
from ttt.supervise.deaths import Death


class Local:
    """Implements `Launcher` for a single process on this machine.

    Args:
        device: "auto", "cuda" or "cpu".
    """

    on_every_node = False
    remote = False

    def __init__(self, *, device: str) -> None:
        self._device = device

    def processes(self) -> int:
        """One."""
        return 1

    def problems(self) -> list[str]:
        """A GPU that is not there."""
        return device_problems(self._device)

    def launch(self, job: Job) -> int:
        """Run everything.

        Raises:
            LaunchError: A worker died.
        """
        return one_by_one(job, _run)

    def to_go_on(self, folder: Path) -> str:
        """The worker itself."""
        return to_go_on(None, folder)

    def join(self, arguments: Sequence[str], seconds: float) -> int:
        """Never called: there is one node."""
        raise NotImplementedError


def _run(folder: Path) -> str:
    command = [sys.executable, "-m", "ttt.worker", str(folder)]
    status = supervise(command, environment=worker_environment(1))
    return str(Death("the worker", socket.gethostname(), status))
