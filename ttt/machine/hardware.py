"""What this machine is made of, as the kernel and the GPU driver report it; "" is unknown.

Reads /sys, /proc and NVML, never the data set. What a container or a virtual machine hides stays
unknown: no table of products is kept here, only one of the generations of NVLink.
"""

import os
from collections import Counter
from pathlib import Path

import psutil
import torch

from ttt.machine import kernel, nvml, topology
from ttt.machine.kernel import CPUINFO, SYS

# Generation of NVLink by compute capability, from NVIDIA's white papers of P100, V100, Turing,
# A100, GA102, H100, Blackwell (B200, B300). What nvmlDeviceGetNvLinkVersion gives is the number of
# an enumeration, and which one depends on the driver: in nvml.h (nvmlNvlinkVersion_t) NVLink 4.0 is
# 6 and 5.0 is 7, in the kernel module (ctrl2080nvlink.h) 3.0 is 5 and 4.0 is 7. Users saw 5 from an
# A100 (hwloc's issue 658) and 7 from an H100.
_NVLINK = {
    (6, 0): 1,
    (7, 0): 2,
    (7, 5): 2,
    (8, 0): 3,
    (8, 6): 3,
    (9, 0): 4,
    (10, 0): 5,
    (10, 3): 5,
}


def processor(sys: Path = SYS, cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """The host's processors, as fields of a systems file. Cores are those of one processor."""
    cores = topology.read(sys).cores
    sockets = {core.socket for core in cores if core.socket is not None}
    highest = _text(sys / "devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")  # kHz
    return {
        "host_processors_per_node": str(len(sockets)) if sockets else "",
        "host_processor_model_name": kernel.processor_model(cpuinfo) or "",
        "host_processor_core_count": str(len(cores) // len(sockets)) if sockets else "",
        "host_processor_vcpu_count": str(os.cpu_count() or ""),
        "host_processor_frequency": f"up to {int(highest) / 1e6:.2f} GHz" if highest else "",
        "host_processor_caches": _caches(sys / "devices/system/cpu/cpu0/cache"),
    }


def _caches(folder: Path) -> str:
    """The caches that one core reaches, as in "L1d 48K, L1i 32K, L2 2048K, L3 105M"."""
    letters = {"Data": "d", "Instruction": "i"}
    found = []
    for cache in sorted(folder.glob("index*")):
        level, kind, size = (_text(cache / name) for name in ("level", "type", "size"))
        if level and size:
            found.append(f"L{level}{letters.get(kind, '')} {size}")
    return ", ".join(found)


def memory() -> dict[str, str]:
    """The host's memory."""
    return {"host_memory_capacity": f"{psutil.virtual_memory().total / 2**30:.0f} GiB"}


def storage(root: Path, sys: Path = SYS) -> dict[str, str]:
    """What a folder lies on; the name of the file system where it is no block device of this host.

    A virtual disk says nothing of what is behind it, so its kind is the word for that.
    """
    number = root.stat().st_dev
    device = (sys / "dev/block" / f"{os.major(number)}:{os.minor(number)}").resolve()
    disk = device.parent if (device / "partition").exists() else device
    turning = _text(disk / "queue/rotational")
    if disk.name.startswith("nvme"):
        kind = "NVMe SSD"
    elif disk.name.startswith(("vd", "xvd")):
        kind = "virtual disk"
    elif turning:
        kind = "hard disk" if turning == "1" else "SSD"
    else:
        kind = _file_system(root)
    capacity = psutil.disk_usage(str(root)).total
    return {"host_storage_type": kind, "host_storage_capacity": f"{capacity / 1e12:.2f} TB"}


def _file_system(path: Path) -> str:
    """As "nfs4" or "lustre": of the mount that is deepest above a path."""
    mounts = psutil.disk_partitions(all=True)
    above = [mount for mount in mounts if path.resolve().is_relative_to(mount.mountpoint)]
    return max(above, key=lambda mount: len(mount.mountpoint)).fstype if above else ""


def network(sys: Path = SYS) -> dict[str, str]:
    """The network cards, as in "8x InfiniBand 400 Gb/s, 2x Ethernet 100 Gb/s"."""
    links: Counter[str] = Counter()
    for port in sorted(sys.glob("class/infiniband/*/ports/*")):
        rate = _text(port / "rate")  # "400 Gb/sec (4X NDR)"
        kind = _text(port / "link_layer") or "InfiniBand"
        active = "ACTIVE" in (_text(port / "state") or "")  # "4: ACTIVE", as against "1: DOWN"
        if rate and active and kind == "InfiniBand":  # RoCE is counted by its Ethernet card
            links[f"{kind} {rate.split()[0]} Gb/s"] += 1
    for card in sorted(sys.glob("class/net/*")):
        speed = _text(card / "speed")  # Mb/s; -1 where there is no cable, or a virtual machine
        ethernet = _text(card / "type") == "1"
        if ethernet and (card / "device").exists() and speed and int(speed) > 0:
            links[f"Ethernet {int(speed) / 1000:g} Gb/s"] += 1
    return {"host_networking": ", ".join(f"{count}x {link}" for link, count in links.items())}


def accelerator(device: torch.device) -> dict[str, str]:
    """The GPU of this process, as NVML knows it; nothing where there is none."""
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    fields = {
        "accelerator_model_name": properties.name,
        "accelerator_memory_capacity": f"{properties.total_memory / 2**30:.0f} GiB",
    }
    with nvml.opened(f"GPU-{properties.uuid}") as gpu:
        if not gpu.known:
            return fields
        clock, link, links = gpu.most_sm_megahertz(), gpu.link(), gpu.nvlinks_up()
    known = link.most_generation is not None and link.most_width is not None
    express = f"PCIe Gen{link.most_generation} x{link.most_width}" if known else ""
    return fields | {
        "accelerator_frequency": "" if clock is None else f"up to {clock} MHz",
        "accelerator_host_interconnect": express,
        "accelerator_interconnect": _nvlink(links, (properties.major, properties.minor)),
    }


def driver() -> str:
    """Version of NVIDIA's driver; "" without one."""
    with nvml.session():
        return nvml.answer(nvml.driver) or ""


def cudnn() -> str:
    """Version of cuDNN, as "9.10.2"; "" without one.

    torch gives one number, CUDNN_VERSION of cudnn_version.h: 91002, and 8902 up to cuDNN 8.
    """
    number = torch.backends.cudnn.version()
    if number is None:
        return ""
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1000)
    return f"{major}.{rest // 100}.{rest % 100}"


def _nvlink(up: int, capability: tuple[int, int]) -> str:
    """How many links are up, and of which generation, if known; "" where there are none."""
    if not up:
        return ""
    generation = _NVLINK.get(capability)
    name = "NVLink" if generation is None else f"NVLink {generation}"
    return f"{name}, {up} link{'s' if up > 1 else ''}"


def _text(path: Path) -> str:
    return kernel.text(path) or ""
