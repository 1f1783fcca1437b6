"""Memory: how much this process has held, and how much there is."""

import resource

import psutil
import torch


def peak_bytes(device: torch.device) -> int:
    """Most memory held so far: on a GPU what the allocator reserved there, else resident memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def total_bytes(device: torch.device) -> int:
    """All memory of the device; of the machine where the device is its CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return int(psutil.virtual_memory().total)
