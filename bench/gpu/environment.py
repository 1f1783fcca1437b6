"""What was measured on: versions, the GPU and its state, and which of ttt's packages are absent."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from gpu import figures

_PACKAGES = (
    *("torch", "triton", "numpy", "scipy", "nvidia-ml-py", "hydra-core", "omegaconf"),
    *("mlperf-logging", "sentencepiece", "sacrebleu", "pytest"),
    *("nvidia-dali-cuda130", "nvidia-dali-cuda120", "nvidia-dali-cuda110"),
)
_ROOT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Look; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = figures.options(parser, arguments)
    return figures.run(figures.Section("environment", options), look)


def look(section: figures.Section) -> None:
    """Write down what this is."""
    section.add("commit", commit())
    section.add("command", os.environ.get("TTT_BENCH_COMMAND"))
    section.add("python", platform.python_version())
    for name in _PACKAGES:
        section.add(name, installed(name))
    section.add("absent", figures.absent(*figures.OPTIONAL))
    section.add("cores", len(os.sched_getaffinity(0)))
    section.add("compute threads", torch.get_num_threads())
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        section.add(name, os.environ.get(name))
    section.add("memory", psutil.virtual_memory().total / 2**30, "GiB")
    section.add("CUDA", torch.version.cuda)
    if not section.cuda:
        section.add("GPU", None, why="measured on the CPU")
        return
    section.add("cuDNN", torch.backends.cudnn.version())
    section.add("NCCL", ".".join(map(str, torch.cuda.nccl.version())))
    found = torch.cuda.get_device_properties(section.device)
    section.add("GPU", found.name)
    section.add("compute capability", f"{found.major}.{found.minor}")
    section.add("multiprocessors", found.multi_processor_count)
    section.add("GPU memory", found.total_memory / 2**30, "GiB")
    section.add("GPUs", torch.cuda.device_count())
    section.part("NVML", nvml)


def commit() -> str | None:
    """The commit, with a + if files were changed; what TTT_COMMIT says where there is no git."""
    if named := os.environ.get("TTT_COMMIT"):
        return named
    try:
        done = [
            subprocess.run(["git", "-C", _ROOT, *words], capture_output=True, text=True, check=True)
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    head, changed = (one.stdout.strip() for one in done)
    return head + ("+" if changed else "")


def installed(package: str) -> str | None:
    """The version of a package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def nvml(section: figures.Section) -> None:
    """What NVML shows of the first GPU; what it does not support is null."""
    import pynvml

    from ttt.distributed.device import identity

    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByUUID(identity(section.device))

    def add(name: str, read: Callable[[], Any], unit: str = "") -> None:
        try:
            section.add(name, read(), unit)
        except (pynvml.NVMLError, AttributeError) as error:  # an older NVML, or its binding
            section.add(name, None, unit, why=str(error))

    add("driver", pynvml.nvmlSystemGetDriverVersion)
    add("CUDA of the driver", lambda: pynvml.nvmlSystemGetCudaDriverVersion() / 1000)
    add("SM clock", lambda: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM), "MHz")
    most = pynvml.nvmlDeviceGetMaxClockInfo
    add("SM clock, most", lambda: most(gpu, pynvml.NVML_CLOCK_SM), "MHz")
    add("memory clock", lambda: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM), "MHz")
    add("power", lambda: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1e3, "W")
    add("power limit", lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3, "W")
    add("energy", lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1e3, "J")
    kind = pynvml.NVML_TEMPERATURE_GPU
    add("temperature", lambda: pynvml.nvmlDeviceGetTemperature(gpu, kind), "C")
    add("MIG mode", lambda: pynvml.nvmlDeviceGetMigMode(gpu)[0])
    add("ECC mode", lambda: pynvml.nvmlDeviceGetEccMode(gpu)[0])
    add("JPEG engine in use", lambda: pynvml.nvmlDeviceGetJpgUtilization(gpu)[0], "%")
    add("NVLink version", lambda: pynvml.nvmlDeviceGetNvLinkVersion(gpu, 0))
    add("PCIe generation", lambda: pynvml.nvmlDeviceGetCurrPcieLinkGeneration(gpu))
    add("PCIe width", lambda: pynvml.nvmlDeviceGetCurrPcieLinkWidth(gpu))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
