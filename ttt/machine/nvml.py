"""Questions to NVML; what it does not know is None. Needs no torch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pynvml


@contextmanager
def opened(name: str | None) -> Iterator[Any]:
    """NVML's handle of a GPU while entered; None for a CPU, or where NVML does not answer.

    Args:
        name: What `ttt.distributed.device.identity` gives for the device.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield asked(pynvml.nvmlDeviceGetHandleByUUID, name) if name else None
    finally:
        pynvml.nvmlShutdown()


def asked(question: Callable[..., Any], *arguments: Any) -> Any:
    """NVML's answer; None where this GPU, driver or permission gives none.

    Args:
        question: A function of pynvml.
        arguments: Its arguments; a handle of None has no answer.
    """
    if arguments and arguments[0] is None:
        return None
    try:
        return question(*arguments)
    except pynvml.NVMLError:
        return None
