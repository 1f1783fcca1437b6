"""The processors of one machine, as the kernel describes them under /sys.

Knows nothing of ranks. Everything may be absent or unknown: containers hide files, and virtual
machines report a NUMA node of -1. Unknown is None. A CPU that /sys does not describe (all of them
in some sandboxes, one that is offline) is not listed; `affinity.plan` takes such a
CPU for a core of its own if the process may run on it.

Source of the files' meaning: Linux, Documentation/admin-guide/cputopology.rst and
Documentation/ABI/stable/sysfs-devices-node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ttt.machine import kernel
from ttt.machine.kernel import SYS


@dataclass(frozen=True, slots=True)
class Core:
    """A physical core.

    Attributes:
        cpus: Its logical CPUs (SMT siblings), ascending.
        socket: The processor package it is on.
        node: The NUMA node it is on.
    """

    cpus: tuple[int, ...]
    socket: int | None = None
    node: int | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """The cores of a machine, and how far its NUMA nodes are apart.

    Attributes:
        cores: Every online core, by its first CPU.
        distances: From a node to each node, in the units of the firmware's table (ACPI SLIT: 10 is
            the node itself). It has a row for nodes without CPUs too.
    """

    cores: tuple[Core, ...] = ()
    distances: Mapping[int, Mapping[int, int]] = field(default_factory=dict)


def read(sys: Path = SYS) -> Topology:
    """The topology of this machine.

    Args:
        sys: Where sysfs is mounted.
    """
    nodes = _numbered(sys / "devices/system/node", "node")
    node_of = {
        cpu: node
        for node, folder in nodes.items()
        for cpu in parse_cpus(kernel.text(folder / "cpulist") or "")
    }
    cores = {}
    for cpu, folder in _numbered(sys / "devices/system/cpu", "cpu").items():
        siblings = kernel.text(folder / "topology/thread_siblings_list")
        if siblings is not None:
            cpus = tuple(sorted(parse_cpus(siblings)))
            socket = kernel.number(folder / "topology/physical_package_id")
            cores[cpus] = Core(cpus, socket, node_of.get(cpu))
    distances = {}
    for node, folder in nodes.items():
        row = kernel.text(folder / "distance")
        if row is not None:  # one column for each online node, ascending
            distances[node] = dict(zip(nodes, map(int, row.split()), strict=True))
    return Topology(tuple(cores[cpus] for cpus in sorted(cores)), distances)


def gpu_nodes(bus_ids: Sequence[str | None], sys: Path = SYS) -> tuple[int | None, ...]:
    """The NUMA node of each GPU.

    Args:
        bus_ids: PCI addresses, as NVML writes them (`00000000:3B:00.0`) or as sysfs does; None for
            a GPU whose address is unknown.
        sys: Where sysfs is mounted.
    """
    devices = sys / "bus/pci/devices"
    return tuple(
        None if bus_id is None else kernel.number(devices / _sysfs_address(bus_id) / "numa_node")
        for bus_id in bus_ids
    )


def parse_cpus(text: str) -> frozenset[int]:
    """The CPUs of a list in the kernel's format, such as `0-3,8`."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def format_cpus(cpus: Iterable[int]) -> str:
    """CPUs as a list in the kernel's format, the inverse of `parse_cpus`."""
    ordered = sorted(cpus)
    if not ordered:
        return ""
    gaps = [(low, high) for low, high in pairwise(ordered) if high != low + 1]
    firsts = [ordered[0], *(high for _, high in gaps)]
    lasts = [*(low for low, _ in gaps), ordered[-1]]
    runs = zip(firsts, lasts, strict=True)
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def _sysfs_address(bus_id: str) -> str:
    # NVML writes the domain with 8 digits and in capitals, sysfs with 4 (more only if needed).
    domain, _, rest = bus_id.partition(":")
    return f"{int(domain, 16):04x}:{rest.lower()}"


def _numbered(folder: Path, prefix: str) -> dict[int, Path]:
    """The folders named by a prefix and a number, in the order of their numbers."""
    found = {
        int(path.name.removeprefix(prefix)): path
        for path in folder.glob(f"{prefix}*")
        if path.name.removeprefix(prefix).isdigit()
    }
    return dict(sorted(found.items()))
