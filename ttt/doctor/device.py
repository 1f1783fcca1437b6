"""The checks of each rank's device, one after the other, made by all ranks at once. Needs torch.

On a GPU they say whether what ttt uses of CUDA works there: products, precisions, training steps,
image decoding, copies, NVML. Together they may take a minute, which a test on a GPU asserts. A CPU
gets what of this it can.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch

from ttt.doctor import compute, copies, counters, decoding, exactness, steps
from ttt.doctor.findings import Finding, Gather, Observation
from ttt.doctor.local import Everybody, Failed, attempt
from ttt.errors import LAUNCH_FAILED
from ttt.schema.run import RunConfig

# A check takes seconds. Python cannot interrupt a call into a driver that does not return.
STUCK_SECONDS = 100.0  # less than other ranks wait for an answer


class Check(NamedTuple):
    """A part of the examination: what is measured on a rank, and how that is judged for all."""

    name: str
    look: Callable[[], Any]
    judge: Callable[[Sequence[Observation[Any]]], Iterator[Finding]]


def checks(run: RunConfig, device: torch.device, *, gpus: bool) -> list[Check]:
    """All of them, the shortest way to a verdict first.

    Args:
        run: What would be run.
        device: Of this rank.
        gpus: Whether the driver shows GPUs here.
    """
    images = getattr(run.data, "loader", None) is not None  # a user's own data may come without
    return [
        Check("matrix product", lambda: compute.look(device, gpus=gpus), _judge_compute),
        Check("precision", lambda: exactness.look(device), exactness.judge),
        Check("training step", lambda: steps.look(device), steps.judge),
        Check("copy rate", lambda: copies.look(device), copies.judge),
        Check("image decoding", lambda: decoding.look(device, needed=images), decoding.judge),
        Check("NVML counters", lambda: counters.look(device), counters.judge),
    ]


def _judge_compute(seen: Sequence[Observation[compute.Compute]]) -> Iterator[Finding]:
    yield from compute.judge_libraries(seen)
    yield from compute.judge(seen)


def examine(device: torch.device, made: Sequence[Check], gather: Gather) -> Iterator[Finding]:
    """Make checks; one that breaks is a finding. Every rank comes to the same findings.

    An error of CUDA can leave the process without a GPU (CUDA C++ Programming Guide, "Error
    Checking"): then the checks that follow are not made, and the finding says since when.

    Args:
        device: Of this rank.
        made: `checks`.
        gather: Every rank's value, in rank order, on every rank.
    """
    lost: str | None = None
    for name, look, judge in made:
        if lost is None:
            with watched(name):
                facts = attempt(partial(_there, device, look))
                if isinstance(facts, Failed) and not _answers(device):
                    lost = name
        else:
            facts = Failed(f"the GPU of this process does not answer since the check '{lost}'")
        yield from Everybody({name: facts}, gather).judged(name, judge)


def _there(device: torch.device, look: Callable[[], Any]) -> Any:
    if device.type == "cuda":
        torch.cuda.set_device(device)  # else what names no device opens GPU 0 from every rank
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
