"""The only module that knows NVML, NVIDIA's library for the state of GPUs. Needs no torch.

What a GPU, its driver or this user's permissions do not show is None. A few methods raise instead,
because their callers pass the reason on: their docstrings say so.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

T = TypeVar("T")

Error: type[Exception] = pynvml.NVMLError

# Reasons for a low clock that mean trouble; idling and a power cap at full load are normal.
_SLOWDOWNS = {
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "too hot (hardware)",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "too hot (driver)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
}


@dataclass(frozen=True, slots=True)
class Link:
    """A GPU's PCI Express link; None is unknown.

    Attributes:
        generation: At this moment: an idle link slows down to save power.
        width: Lanes, at this moment.
        most_generation: What the GPU and the system can do together.
        most_width: The same of the lanes.
    """

    generation: int | None = None
    width: int | None = None
    most_generation: int | None = None
    most_width: int | None = None


class Gpu:
    """A GPU, or a MIG instance, while NVML is open.

    Args:
        handle: NVML's; None for a device that NVML does not know.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    @property
    def known(self) -> bool:
        """Whether NVML knows this device."""
        return self._handle is not None

    def uuid(self) -> str:
        """Its name for life, GPU-... or MIG-...; raises Error."""
        return _text(self._ask(pynvml.nvmlDeviceGetUUID))

    def bus_id(self) -> str:
        """Its PCI address; raises Error."""
        return _text(self._ask(pynvml.nvmlDeviceGetPciInfo).busId)

    def name(self) -> str:
        """Its model; raises Error."""
        return _text(self._ask(pynvml.nvmlDeviceGetName))

    def memory_bytes(self) -> tuple[int, int]:
        """All of its memory, and what is in use now; raises Error."""
        memory = self._ask(pynvml.nvmlDeviceGetMemoryInfo)
        return int(memory.total), int(memory.used)

    def joules(self) -> float:
        """Energy since the driver was loaded; raises Error: before Volta, and on MIG instances."""
        return float(self._ask(pynvml.nvmlDeviceGetTotalEnergyConsumption)) / 1e3

    def instances(self) -> tuple[str, ...]:
        """The UUIDs of its MIG instances; none where it is not cut."""
        most = int(self._known(pynvml.nvmlDeviceGetMaxMigDeviceCount) or 0)
        handles = [
            self._known(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, index) for index in range(most)
        ]
        return tuple(Gpu(handle).uuid() for handle in handles if handle)

    def mig(self) -> bool | None:
        """Whether it is divided into instances."""
        mode = self._known(pynvml.nvmlDeviceGetMigMode)
        return None if mode is None else bool(mode[0])

    def persistent(self) -> bool | None:
        """Whether the driver stays loaded when no process uses it."""
        mode = self._known(pynvml.nvmlDeviceGetPersistenceMode)
        return None if mode is None else bool(mode)

    def ecc_errors(self) -> int | None:
        """Uncorrected memory errors since the driver was loaded."""
        kind, since = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
        return _whole(self._known(pynvml.nvmlDeviceGetTotalEccErrors, kind, since))

    def slowdowns(self) -> tuple[str, ...] | None:
        """Why its clock is reduced, if for a bad reason."""
        reasons = self._known(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
        if reasons is None:
            return None
        return tuple(word for bit, word in _SLOWDOWNS.items() if reasons & bit)

    def sm_megahertz(self) -> int | None:
        """Clock of the SMs at this moment."""
        return _whole(self._known(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM))

    def most_sm_megahertz(self) -> int | None:
        """Highest clock of the SMs."""
        return _whole(self._known(pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_SM))

    def most_memory_bytes_per_s(self) -> float | None:
        """Bits of the memory's bus, twice per cycle of its highest clock."""
        bits = self._known(pynvml.nvmlDeviceGetMemoryBusWidth)
        megahertz = self._known(pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_MEM)
        return 2 * megahertz * 1e6 * bits / 8 if bits and megahertz else None

    def busy_percent(self) -> int | None:
        """Time that any kernel ran, lately."""
        rates = self._known(pynvml.nvmlDeviceGetUtilizationRates)
        return None if rates is None else int(rates.gpu)

    def jpeg_percent(self) -> int | None:
        """Use of its JPEG engine, lately."""
        used = self._known(pynvml.nvmlDeviceGetJpgUtilization)
        return int(used[0]) if used else None

    def watts(self) -> float | None:
        """The power of this moment; where the driver has none, of the last second or so."""
        asked = [pynvml.NVML_FI_DEV_POWER_INSTANT]
        fields = self._known(pynvml.nvmlDeviceGetFieldValues, asked)
        if fields is not None and fields[0].nvmlReturn == pynvml.NVML_SUCCESS:
            return float(fields[0].value.uiVal) / 1e3
        milliwatts = self._known(pynvml.nvmlDeviceGetPowerUsage)
        return None if milliwatts is None else float(milliwatts) / 1e3

    def link(self) -> Link:
        """Its PCI Express link."""
        return Link(
            _whole(self._known(pynvml.nvmlDeviceGetCurrPcieLinkGeneration)),
            _whole(self._known(pynvml.nvmlDeviceGetCurrPcieLinkWidth)),
            _whole(self._known(pynvml.nvmlDeviceGetMaxPcieLinkGeneration)),
            _whole(self._known(pynvml.nvmlDeviceGetMaxPcieLinkWidth)),
        )

    def nvlinks_up(self) -> int:
        """How many NVLinks are up; NVML has no answer for a link that this GPU does not have."""
        every = range(pynvml.NVML_NVLINK_MAX_LINKS)
        states = [self._known(pynvml.nvmlDeviceGetNvLinkState, link) for link in every]
        return states.count(pynvml.NVML_FEATURE_ENABLED)

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        if self._handle is None:
            raise Error(pynvml.NVML_ERROR_NOT_FOUND)
        return question(self._handle, *arguments)

    def _known(self, question: Callable[..., Any], *arguments: Any) -> Any:
        return answer(lambda: self._ask(question, *arguments))


@contextmanager
def session() -> Iterator[str | None]:
    """NVML is open while entered; yields why it is not, if there is no driver."""
    absent: str | None = None
    try:
        pynvml.nvmlInit()
    except Error as error:
        absent = str(error)
    try:
        yield absent
    finally:
        if absent is None:
            pynvml.nvmlShutdown()


@contextmanager
def opened(uuid: str | None) -> Iterator[Gpu]:
    """A GPU while entered; for a CPU, or where NVML does not answer, one that is not known.

    Args:
        uuid: What `ttt.distributed.device.identity` gives for the device.
    """
    with session() as absent:
        found = answer(lambda: find(uuid)) if uuid and absent is None else None
        yield found or Gpu(None)


def attach(uuids: Sequence[str]) -> list[Gpu]:
    """GPUs for as long as this process lives.

    Args:
        uuids: As in `opened`.

    Raises:
        Error: There is no driver, or it does not know one of them.
    """
    pynvml.nvmlInit()
    return [find(uuid) for uuid in uuids]


def find(uuid: str) -> Gpu:
    """A GPU by its UUID, while NVML is open; raises Error where there is none."""
    return Gpu(pynvml.nvmlDeviceGetHandleByUUID(uuid))


def present() -> list[Gpu]:
    """All GPUs of this machine in the order of their bus, while NVML is open; raises Error."""
    count = int(pynvml.nvmlDeviceGetCount())
    return [Gpu(pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(count)]


def driver() -> str:
    """Version of the driver, while NVML is open; raises Error."""
    return _text(pynvml.nvmlSystemGetDriverVersion())


def answer(question: Callable[[], T]) -> T | None:
    """What a question that raises Error comes to; None where it does."""
    try:
        return question()
    except Error:
        return None


def _whole(number: Any) -> int | None:
    return None if number is None else int(number)


def _text(words: str | bytes) -> str:
    return words.decode() if isinstance(words, bytes) else str(words)
