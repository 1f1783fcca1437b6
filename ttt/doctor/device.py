"""The guard of the checks that use a rank's device. Needs torch.

On a GPU these checks say whether what ttt uses of CUDA works there: products, precisions, training
steps, image decoding, copies, NVML. Together they may take a minute, which a test on a GPU asserts.
A CPU gets what of this it can.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ttt.doctor.examination import Failed, attempt
from ttt.errors import LAUNCH_FAILED

# A check takes seconds. Python cannot interrupt a call into a driver that does not return.
STUCK_SECONDS = 100.0  # less than other ranks wait for an answer


class Guard:
    """Makes the checks of one device.

    An error of CUDA can leave the process without a GPU (CUDA C++ Programming Guide, "Error
    Checking"): then the checks that follow are not made, and the finding says since when.

    Args:
        device: Of this rank.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lost: str | None = None

    def look(self, name: str, look: Callable[[], Any]) -> Any:
        """The facts of a check, or Failed.

        Args:
            name: Of the check.
            look: Measures.
        """
        if self._lost is not None:
            return Failed(f"the GPU of this process does not answer since the check '{self._lost}'")
        with watched(name):
            facts = attempt(lambda: self._measured(look))
            if isinstance(facts, Failed) and not _answers(self._device):
                self._lost = name
        return facts

    def _measured(self, look: Callable[[], Any]) -> Any:
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # else code that names no device opens GPU 0
        return look()


def _answers(device: torch.device) -> bool:
    if device.type == "cpu":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:  # all of CUDA's
        return False
    return True


@contextmanager
def watched(name: str, seconds: float = STUCK_SECONDS) -> Iterator[None]:
    """End this process if a check does not return, and say which.

    Args:
        name: Of the check.
        seconds: How long it may take.
    """
    timer = threading.Timer(seconds, _end, [name, seconds])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(name: str, seconds: float) -> None:
    try:
        print(
            f"ttt: the check '{name}' on {os.uname().nodename} has not returned for {seconds:g} s:"
            " the device, its driver or a file system is stuck; look for Xid in dmesg, and at"
            " nvidia-smi -q",
            file=sys.stderr,
            flush=True,
        )
    finally:
        os._exit(LAUNCH_FAILED)
