"""The counters of joules of one node: those of GPUs and of processors.

zeus finds the processors' counters, NVML those of GPUs. For RAPL counters that wrap around, zeus
itself starts a process for each counter, which would import the training program once more. A
reading a second makes that needless.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ttt.errors import MissingExtra
from ttt.machine import nvml


@dataclass(frozen=True, slots=True)
class Counter:
    """Something that counts joules upward.

    Attributes:
        part: "gpu", "cpu" or "dram".
        read: Joules since some moment of the past.
        wraps_at_j: Where it begins again at zero; None if it never does.
    """

    part: str
    read: Callable[[], float]
    wraps_at_j: float | None = None

    def since(self, before: float, now: float) -> float:
        """Joules between two readings; at most one turn lies between them.

        Raises:
            ValueError: A counter that does not wrap went back.
        """
        if now < before and self.wraps_at_j is None:
            raise ValueError(f"the {self.part} counter went from {before:g} J back to {now:g} J")
        return now - before + (self.wraps_at_j or 0.0) * (now < before)


def counters(device: torch.device, gpus: Sequence[str]) -> list[Counter]:
    """The counters of this node.

    Args:
        device: What the run computes on; on a CPU the node's GPUs do not count.
        gpus: The GPUs the run uses on this node, by `ttt.distributed.device.identity`.

    Raises:
        MissingExtra: zeus is not installed.
        OSError: Nothing that the run needs can be read; the text says why.
    """
    if find_spec("zeus") is None:
        raise MissingExtra("zeus", "energy", "measuring energy")
    if device.type != "cuda":
        return _processors()
    found = _gpus(gpus)
    try:
        return found + _processors()
    except OSError:  # the larger part is known, and the scope says that it is only that
        return found


def _gpus(uuids: Sequence[str]) -> list[Counter]:
    """The GPUs by their UUIDs, because this process may not see another rank's GPU."""
    try:
        gpus = nvml.attach(uuids)
        for gpu in gpus:
            gpu.joules()  # those before Volta have no counter, nor has a MIG instance
    except nvml.Error as error:
        raise OSError(f"no energy counters of {', '.join(uuids)}: {error}") from error
    return [Counter("gpu", gpu.joules) for gpu in gpus]


def _processors() -> list[Counter]:
    from zeus.device.cpu import get_cpus  # noqa: PLC0415 - an extra
    from zeus.device.cpu.common import ZeusCPUNoPermissionError  # noqa: PLC0415
    from zeus.exception import ZeusBaseError  # noqa: PLC0415

    try:
        packages = get_cpus().cpus
    except ZeusCPUNoPermissionError as error:
        raise OSError(
            "only root may read the processors' energy counters, /sys/class/powercap/*/energy_uj;"
            " allow it, or run zeus' daemon"
        ) from error
    except ZeusBaseError as error:
        raise OSError("this machine shows no energy counters of its processors (RAPL)") from error
    found = []
    for package in packages:
        zone = getattr(package, "rapl_file", None)
        if zone is None:  # zeus' daemon hides where its counters wrap
            found.append(Counter("cpu", _daemon(package)))
        elif zone.name.startswith("package"):  # "psys" has the packages in it once more
            found += [_zone("cpu", zone)] + ([_zone("dram", package.dram)] if package.dram else [])
    if not found:
        raise OSError("no processor package has an energy counter")
    return found


def _daemon(package: Any) -> Callable[[], float]:
    return lambda: package.get_total_energy_consumption().cpu_mj / 1e3


def _zone(part: str, zone: Any) -> Counter:
    path = Path(zone.energy_uj_path)
    return Counter(part, lambda: float(path.read_text()) / 1e6, zone.max_energy_range_uj / 1e6)
