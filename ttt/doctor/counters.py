"""Do NVML's counters agree with each other and with torch, while the GPU is kept busy.

ttt takes a run's energy from the counter of joules (`ttt.telemetry.power`). Here the counter is
compared with the power that NVML shows. On some GPUs the sensor sees only a part of the time (Yang
et al. 2023, "Part-time Power Measurements", arXiv:2312.02741).
"""

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

import torch

from ttt.distributed.device import identity
from ttt.doctor.findings import Finding, Observation, not_examined, ok, per_rank, ranks, warning
from ttt.machine import nvml

_SIZE, _BURST = 4096, 50  # matrix products between two samples
# The shown power may be a mean over the last second, so that samples begin after one.
_WARM_SECONDS, _BUSY_SECONDS = 1.2, 1.5
_BYTES = 512 << 20
_ENERGY_SHARE = 0.25  # that two ways to measure energy may differ
_MEMORY_SHARE = 0.1  # the driver rounds up
_CLOCK_SHARE = 0.5
_NAME = "NVML counters"

Problem = tuple[str, str, str]  # name of the finding, its text, and what to do


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment of a busy GPU; None is unknown.

    Attributes:
        seconds: When.
        watts: Shown power.
        joules: The counter of energy.
        megahertz: Clock of the SMs.
        percent: Time that any kernel ran, lately.
    """

    seconds: float
    watts: float | None = None
    joules: float | None = None
    megahertz: int | None = None
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """What one rank saw; None is unknown.

    Attributes:
        counted_j: By the counter of energy.
        shown_j: By the shown power, over the same time.
        megahertz: Median clock while busy.
        most_megahertz: Highest clock there is.
        percent: Highest utilization while busy.
        allocated_bytes: What torch took from the driver.
        risen_bytes: By how much NVML's used memory rose.
        absent: Why nothing was asked; all else is None then.
    """

    counted_j: float | None = None
    shown_j: float | None = None
    megahertz: float | None = None
    most_megahertz: int | None = None
    percent: int | None = None
    allocated_bytes: int | None = None
    risen_bytes: int | None = None
    absent: str | None = None


def look(device: torch.device) -> Counters:
    """Keep the GPU busy and read its counters."""
    if device.type == "cpu":
        return Counters(absent="there is no GPU")
    with nvml.opened(identity(device)) as gpu:
        if not gpu.known:
            return Counters(absent="NVML does not know this GPU")
        allocated, risen = _memory(device, gpu)
        samples = _busy(device, gpu)
        most = gpu.most_sm_megahertz()
    counted, shown = energies(samples)
    clocks = [one.megahertz for one in samples if one.megahertz is not None]
    used = [one.percent for one in samples if one.percent is not None]
    return Counters(
        counted_j=counted,
        shown_j=shown,
        megahertz=statistics.median(clocks) if clocks else None,
        most_megahertz=most,
        percent=max(used, default=None),
        allocated_bytes=allocated,
        risen_bytes=risen,
    )


def _memory(device: torch.device, gpu: nvml.Gpu) -> tuple[int, int | None]:
    torch.cuda.empty_cache()
    before, reserved = _used(gpu), torch.cuda.memory_reserved(device)
    block = torch.empty(_BYTES, dtype=torch.uint8, device=device)
    after, allocated = _used(gpu), torch.cuda.memory_reserved(device) - reserved
    del block
    return allocated, None if before is None or after is None else after - before


def _used(gpu: nvml.Gpu) -> int | None:
    memory = nvml.answer(gpu.memory_bytes)
    return None if memory is None else memory[1]


def _busy(device: torch.device, gpu: nvml.Gpu) -> list[Sample]:
    """Samples of a GPU that multiplies matrices; one burst waits while another is computed."""
    left = torch.randn(_SIZE, _SIZE, device=device, dtype=torch.float16)
    right, out = torch.randn_like(left), torch.empty_like(left)
    flying: deque[torch.cuda.Event] = deque()
    samples = []
    begin = time.perf_counter()
    while (now := time.perf_counter() - begin) < _WARM_SECONDS + _BUSY_SECONDS:
        for _ in range(_BURST):
            torch.mm(left, right, out=out)
        done = torch.cuda.Event()
        done.record()
        flying.append(done)
        if len(flying) > 1:
            flying.popleft().synchronize()
        if now > _WARM_SECONDS:
            samples.append(_sample(gpu))
    torch.cuda.synchronize(device)
    return samples


def _sample(gpu: nvml.Gpu) -> Sample:
    joules, percent = nvml.answer(gpu.joules), gpu.busy_percent()
    return Sample(time.perf_counter(), gpu.watts(), joules, gpu.sm_megahertz(), percent)


def energies(samples: Sequence[Sample]) -> tuple[float | None, float | None]:
    """Joules by the counter and by the shown power, between the counter's first and last change.

    The counter moves a few times a second only. Where one of the two is unknown, so is its sum.
    """
    if any(one.joules is None for one in samples):
        return None, None
    moved = [now for before, now in pairwise(samples) if now.joules != before.joules]
    if len(moved) < 2:
        return (0.0 if samples else None), None
    first, last = moved[0], moved[-1]
    between = [one for one in samples if first.seconds <= one.seconds <= last.seconds]
    shown = [
        (one.watts + two.watts) / 2 * (two.seconds - one.seconds)
        for one, two in pairwise(between)
        if one.watts is not None and two.watts is not None
    ]
    counted = (last.joules or 0.0) - (first.joules or 0.0)
    return counted, sum(shown) if len(shown) == len(between) - 1 else None


def judge(seen: Sequence[Observation[Counters]]) -> Iterator[Finding]:
    """Whether the counters agree."""
    known = [one for one in seen if one.facts.absent is None]
    if not known:
        yield not_examined(_NAME, seen[0].facts.absent, "counted_j")
        return
    problems = [
        warning(name, f"{text}: {ranks([one])}", advice, **_data([one]))
        for one in known
        for ask in (_energy, _utilization, _clock, _used_memory)
        for name, text, advice in ask(one.facts)
    ]
    yield from problems
    if not problems:
        yield ok(_NAME, _summary(known[0].facts), **_data(known))


def _summary(one: Counters) -> str:
    parts = []
    if one.counted_j is None:
        parts.append("no energy counter: ttt reports no energy of GPUs here")
    elif one.shown_j:
        parts.append(
            f"energy counter {one.counted_j / one.shown_j:.0%} of the energy by power readings"
        )
    if one.megahertz is not None and one.most_megahertz:
        parts.append(f"SM clock {one.megahertz:.0f} of {one.most_megahertz} MHz")
    if one.percent is not None:
        parts.append(f"{one.percent} % busy")
    if one.risen_bytes is not None and one.allocated_bytes:
        parts.append(f"memory {one.risen_bytes / one.allocated_bytes:.0%} of what torch took")
    return ", ".join(parts) or "NVML reports none of its counters for this GPU"


def _data(known: Sequence[Observation[Counters]]) -> dict[str, Any]:
    fields = [name for name in Counters.__dataclass_fields__ if name != "absent"]
    numbers = per_rank(known, **{name: attrgetter(name) for name in fields})
    why = dict.fromkeys(fields, "NVML does not report it for this GPU")
    why["shown_j"] = "the power or the energy counter is not reported, or the counter does not move"
    return {**numbers, "why": why}


def _energy(one: Counters) -> Iterator[Problem]:
    if one.counted_j == 0.0:
        yield (
            _NAME,
            "the energy counter does not move while the GPU is busy",
            "system.energy=off, or another driver: nvidia-smi -q -d POWER",
        )
    elif one.counted_j and one.shown_j and abs(one.counted_j / one.shown_j - 1) > _ENERGY_SHARE:
        yield (
            _NAME,
            f"the energy counter shows {one.counted_j:.0f} J, but the power readings add up to"
            f" {one.shown_j:.0f} J",
            "ttt uses the counter; compare it with a power meter before you publish joules, or"
            " type system.energy=off",
        )


def _utilization(one: Counters) -> Iterator[Problem]:
    if one.percent == 0:
        yield (
            _NAME,
            "NVML shows a busy GPU as idle",
            "do not trust its utilization; a MIG instance or a virtual GPU has none of its own",
        )


def _clock(one: Counters) -> Iterator[Problem]:
    if one.megahertz and one.most_megahertz:
        share = one.megahertz / one.most_megahertz
        if share < _CLOCK_SHARE:
            yield (
                "GPU clock",
                f"{one.megahertz:.0f} MHz under load, {share:.0%} of its highest",
                "look for a locked clock, a power cap or heat: nvidia-smi -q -d"
                " CLOCK,POWER,PERFORMANCE; nvidia-smi -rgc unlocks the clock",
            )


def _used_memory(one: Counters) -> Iterator[Problem]:
    if one.risen_bytes is not None and one.allocated_bytes:
        off = abs(one.risen_bytes - one.allocated_bytes)
        if off > _MEMORY_SHARE * one.allocated_bytes:
            yield (
                _NAME,
                f"torch took {one.allocated_bytes / 2**20:.0f} MiB and NVML's used memory rose by"
                f" {one.risen_bytes / 2**20:.0f} MiB",
                "look for other processes on this GPU: nvidia-smi",
            )
