"""Memory: how much this process has held at most, and how much there is."""

import resource

import psutil
import torch


def reset_peaks(device: torch.device) -> None:
    """Forget the peaks up to now, as those of a warm-up; on a CPU nothing is forgotten."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peaks(device: torch.device) -> dict[str, int | None]:
    """What this process held and holds, in bytes; None where it is unknown.

    Returns:
        `peak_memory_bytes`: on a GPU, the most that tensors took since `reset_peaks`; on a CPU, the
        largest resident memory since the process started, warm-up and libraries included.
        `peak_memory_reserved_bytes`: on a GPU, the most that torch's allocator took from the
        device since then, with what the warm-up has left in its cache.
        `device_memory_used_bytes`: what of the GPU is in use now, by any process
        (cudaMemGetInfo): also CUDA's context, NCCL, DALI and libraries' workspaces outside torch's
        allocator.
    """
    if device.type != "cuda":
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
        return {
            "peak_memory_bytes": resident,
            "peak_memory_reserved_bytes": None,
            "device_memory_used_bytes": None,
        }
    free, total = torch.cuda.mem_get_info(device)
    return {
        "peak_memory_bytes": torch.cuda.max_memory_allocated(device),
        "peak_memory_reserved_bytes": torch.cuda.max_memory_reserved(device),
        "device_memory_used_bytes": total - free,
    }


def total_bytes(device: torch.device) -> int:
    """All memory of the device; of the machine where the device is its CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return int(psutil.virtual_memory().total)
