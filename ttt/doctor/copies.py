"""How fast this rank's device takes and gives data, compared with its link to the host.

All ranks copy at once, as they do in training: GPUs may share a part of the way to memory.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ttt.distributed.device import identity
from ttt.doctor.findings import Finding, Observation, ok, per_rank, ranks, warning
from ttt.machine import nvml
from ttt.machine.nvml import Link

_HOST_BYTES = 128 << 20
_DEVICE_BYTES = 1 << 30
_COUNT = 16  # copies that are timed together
_CPU_COUNT = 2
# Bytes per second and lane, one way, by generation: 2.5 and 5 GT/s with 8b/10b code, from 8 GT/s on
# 128b/130b, 64 GT/s in flits of 256 bytes with 236 of data (PCI Express Base Specification).
_LANE = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.375e9}
# A pinned copy reaches four fifths of the link or more.
_SHARE = 0.5
_NAME = "copy rate"
_WHY = {
    "nominal_bytes_per_s": "NVML does not report the PCIe link, or its generation is new",
    "inside_peak_bytes_per_s": "NVML does not report the memory's bus width or highest clock",
    "pcie_generation": "NVML does not report it",
    "pcie_width": "NVML does not report it",
}


@dataclass(frozen=True, slots=True)
class Copies:
    """What one rank measured, in bytes per second; None where there is no such copy.

    Attributes:
        inside: In the device's own memory, reading and writing counted.
        inside_peak: What its memory could do at most.
        to_device: From pinned host memory.
        from_device: To pinned host memory.
        link: Between the two.
        peers: Visible GPUs whose memory this rank's GPU can reach directly.
        others: Visible GPUs beside this rank's.
    """

    inside: float
    inside_peak: float | None = None
    to_device: float | None = None
    from_device: float | None = None
    link: Link | None = None
    peers: int | None = None
    others: int | None = None


def look(device: torch.device) -> Copies:
    """Copy for a moment."""
    if device.type == "cpu":
        source = torch.ones(_HOST_BYTES, dtype=torch.uint8)
        return Copies(2 * _rate(torch.empty_like(source), source, _CPU_COUNT))
    host = torch.ones(_HOST_BYTES, dtype=torch.uint8, pin_memory=True)
    there = torch.empty(_HOST_BYTES, dtype=torch.uint8, device=device)
    others = [index for index in range(torch.cuda.device_count()) if index != device.index]
    with nvml.opened(identity(device)) as gpu:
        links: list[Link] = []
        to_device = _rate(there, host, _COUNT, lambda: links.append(gpu.link()))
        from_device = _rate(host, there, _COUNT)
        peak = gpu.most_memory_bytes_per_s()
    source = torch.ones(_DEVICE_BYTES, dtype=torch.uint8, device=device)
    return Copies(
        inside=2 * _rate(torch.empty_like(source), source, _COUNT),
        inside_peak=peak,
        to_device=to_device,
        from_device=from_device,
        link=links[0],
        peers=sum(torch.cuda.can_device_access_peer(device, index) for index in others),
        others=len(others),
    )


def _rate(
    target: Tensor, source: Tensor, count: int, meanwhile: Callable[[], None] = lambda: None
) -> float:
    """Bytes per second of copies that follow each other.

    Args:
        target: Where to.
        source: Where from, as large.
        count: How often.
        meanwhile: Called while copies are in flight.
    """
    target.copy_(source)  # pages are mapped
    _wait(target, source)
    begin = time.perf_counter()
    for _ in range(count):
        target.copy_(source, non_blocking=True)
    meanwhile()
    _wait(target, source)
    return count * source.nbytes / (time.perf_counter() - begin)


def _wait(*tensors: Tensor) -> None:
    for one in tensors:
        if one.device.type == "cuda":
            torch.cuda.synchronize(one.device)


def nominal(link: Link | None) -> float | None:
    """Bytes per second, one way, that a link could do at most; None is unknown."""
    if link is None or link.most_width is None or link.most_generation not in _LANE:
        return None
    return _LANE[link.most_generation] * link.most_width


def judge(seen: Sequence[Observation[Copies]]) -> Iterator[Finding]:
    """Whether links are as fast as they are wide, and none is narrower than it could be."""
    gpus = [one for one in seen if one.facts.to_device is not None]
    if not gpus:
        slowest = min(one.facts.inside for one in seen)
        summary = (
            f"host memory {slowest / 1e9:.3g} GB/s, read and written, per rank while all ranks copy"
        )
        yield ok(_NAME, summary, **per_rank(seen, inside_bytes_per_s=lambda one: one.inside))
        return
    problems = [*_trained_down(gpus), *_slow_links(gpus), *_slow_memory(gpus)]
    yield from problems
    if not problems:
        yield ok(_NAME, _rates(gpus), **_data(gpus))
    yield from _peers(gpus)


def _rates(gpus: Sequence[Observation[Copies]]) -> str:
    to_device = min(one.facts.to_device or 0.0 for one in gpus)
    back = min(one.facts.from_device or 0.0 for one in gpus)
    inside = min(one.facts.inside for one in gpus)
    first = gpus[0].facts
    summary = f"host to GPU {to_device / 1e9:.3g} GB/s, back {back / 1e9:.3g}"
    most = nominal(first.link)
    if first.link and most:
        name = f"PCIe Gen{first.link.most_generation} x{first.link.most_width}"
        summary += f" ({name}: {most / 1e9:.3g})"
        if to_device > most:
            summary += ", faster than PCIe: another link, such as NVLink-C2C, is in use"
    summary += f"; in GPU memory {inside / 1e9:,.0f} GB/s"
    return summary + (f" of {first.inside_peak / 1e9:,.0f}" if first.inside_peak else "")


def _data(gpus: Sequence[Observation[Copies]]) -> dict[str, Any]:
    numbers = per_rank(
        gpus,
        to_device_bytes_per_s=lambda one: one.to_device,
        from_device_bytes_per_s=lambda one: one.from_device,
        nominal_bytes_per_s=lambda one: nominal(one.link),
        inside_bytes_per_s=lambda one: one.inside,
        inside_peak_bytes_per_s=lambda one: one.inside_peak,
        pcie_generation=lambda one: one.link and one.link.generation,
        pcie_width=lambda one: one.link and one.link.width,
    )
    return {**numbers, "why": _WHY}


def _trained_down(gpus: Sequence[Observation[Copies]]) -> Iterator[Finding]:
    bad = [one for one in gpus if one.facts.link and _below(one.facts.link)]
    if bad and (link := bad[0].facts.link):
        yield warning(
            _NAME,
            f"the PCIe link runs as Gen{link.generation} x{link.width} under load, and could run as"
            f" Gen{link.most_generation} x{link.most_width}: {ranks(bad)}",
            "look at its slot and riser: nvidia-smi -q, under PCI; have the GPU reseated",
            **_data(gpus),
        )


def _below(link: Link) -> bool:
    pairs = (link.generation, link.most_generation), (link.width, link.most_width)
    return any(now is not None and most is not None and now < most for now, most in pairs)


def _slow_links(gpus: Sequence[Observation[Copies]]) -> Iterator[Finding]:
    def slowest(one: Copies) -> float:
        return min(one.to_device or 0.0, one.from_device or 0.0)

    bad = [
        one
        for one in gpus
        if (most := nominal(one.facts.link)) and slowest(one.facts) < _SHARE * most
    ]
    if bad:
        yield warning(
            _NAME,
            f"{_rates(bad)}; less than {_SHARE:.0%}: {ranks(bad)}",
            "bind each rank to the cores beside its GPU (binding=always); an IOMMU, a virtual"
            " machine or GPUs that share a switch also slow copies down",
            **_data(gpus),
        )


def _slow_memory(gpus: Sequence[Observation[Copies]]) -> Iterator[Finding]:
    bad = [
        one
        for one in gpus
        if one.facts.inside_peak and one.facts.inside < _SHARE * one.facts.inside_peak
    ]
    if bad:
        yield warning(
            _NAME,
            f"{_rates(bad)}; less than {_SHARE:.0%} in GPU memory: {ranks(bad)}",
            "look for other processes and a low memory clock: nvidia-smi -q -d CLOCK,PERFORMANCE",
            **_data(gpus),
        )


def _peers(gpus: Sequence[Observation[Copies]]) -> Iterator[Finding]:
    several = [one for one in gpus if one.facts.others]
    if several:
        reached = per_rank(several, peers=lambda one: one.peers)
        fewest = min(several, key=lambda one: one.facts.peers or 0)
        summary = f"a GPU reaches {fewest.facts.peers} of the {fewest.facts.others} others it sees"
        yield ok("peer access", f"{summary} directly, over NVLink or PCIe", **reached)
