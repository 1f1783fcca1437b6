"""Asks NVML which GPUs CUDA shows a process: without torch, for launchers and the doctor."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pynvml


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU of this machine.

    Attributes:
        uuid: Its name for life, GPU-...
        instances: Those of its MIG instances, MIG-...; none where it is not cut.
    """

    uuid: str
    instances: tuple[str, ...] = ()


def count() -> int:
    """GPUs that CUDA would show a process started here; 0 without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return len(visible(present(), os.environ.get("CUDA_VISIBLE_DEVICES")))
    finally:
        pynvml.nvmlShutdown()


def present() -> list[Card]:
    """All GPUs of this machine, in the order of their bus; NVML is initialised."""
    number = int(pynvml.nvmlDeviceGetCount())
    return [card(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(number)]


def visible(cards: Sequence[Card], shown: str | None) -> list[str]:
    """The names of the GPUs, or of the MIG instance, that CUDA_VISIBLE_DEVICES leaves, in order.

    CUDA stops at the first entry that names none (CUDA C++ Programming Guide, "CUDA Environment
    Variables"); a UUID may be cut short. Of MIG instances a process gets one, the first, and no
    other GPU beside it (NVIDIA Multi-Instance GPU User Guide, "CUDA Device Enumeration").

    Args:
        cards: All GPUs, in the order of their bus.
        shown: The variable; None if it is not set, which shows all.
    """
    if shown is None:
        shown = ",".join(map(str, range(len(cards))))
    chosen: list[str] = []
    for entry in (word.strip() for word in shown.split(",")):
        found = _named(cards, entry)
        if len(found) != 1:
            break
        chosen += found
    instances = [name for name in chosen if name.startswith("MIG-")]
    return instances[:1] or chosen


def _named(cards: Sequence[Card], entry: str) -> list[str]:
    if entry.isdecimal():
        found = list(cards[int(entry) : int(entry) + 1])
    elif entry.startswith("MIG-"):
        names = [name for card in cards for name in card.instances]
        return [name for name in names if name.startswith(entry)]
    else:
        found = [card for card in cards if entry and card.uuid.startswith(entry)]
    return [card.instances[0] if card.instances else card.uuid for card in found]


def card(handle: Any) -> Card:
    """What NVML says of a GPU.

    Args:
        handle: NVML's.
    """
    uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
    most = int(_asked(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    instances = [
        _asked(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index) for index in range(most)
    ]
    return Card(uuid, tuple(_text(pynvml.nvmlDeviceGetUUID(one)) for one in instances if one))


def _asked(question: Callable[..., Any], *arguments: Any) -> Any:
    """NVML's answer; None if this GPU has none, for example because MIG cannot divide it."""
    with contextlib.suppress(pynvml.NVMLError):
        return question(*arguments)
    return None


def _text(said: str | bytes) -> str:
    return said.decode() if isinstance(said, bytes) else said
