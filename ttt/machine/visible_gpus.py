"""Which GPUs CUDA shows a process: found out without torch, for launchers and the doctor."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ttt.machine import nvml


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
    with nvml.session() as absent:
        if absent is not None:
            return 0
        cards = [Card(gpu.uuid(), gpu.instances()) for gpu in nvml.present()]
    return len(visible(cards, os.environ.get("CUDA_VISIBLE_DEVICES")))


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
