"""NVML's energy counter against its power readings, while the GPU multiplies matrices.

`ttt.telemetry.power` takes joules from the counter; the integral of power says whether to trust it.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise

import torch

from gpu import figures
from ttt.distributed.device import identity

_SECONDS = 4.0
_EVERY = 0.02  # seconds between readings of power


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    options = figures.options(parser, arguments)
    return figures.run(figures.Section("energy", options), measure)


def measure(section: figures.Section) -> None:
    """Read both while a product of matrices is repeated.

    Raises:
        Skip: There is no GPU.
    """
    if not section.cuda:
        raise figures.Skip("needs a GPU: NVML knows no CPU")
    import pynvml

    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByUUID(identity(section.device))
    stop, watts = threading.Event(), []

    def watch() -> None:
        while not stop.wait(_EVERY):
            watts.append((time.perf_counter(), pynvml.nvmlDeviceGetPowerUsage(gpu) / 1e3))

    thread = threading.Thread(target=watch, daemon=True)
    before, begin = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu), time.perf_counter()
    thread.start()
    left = torch.randn(8192, 8192, device=section.device, dtype=torch.bfloat16)
    while time.perf_counter() - begin < _SECONDS:
        for _ in range(20):
            left @ left
        section.synchronize()
    after, end = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu), time.perf_counter()
    stop.set()
    thread.join()
    joules = (after - before) / 1e3
    section.add("energy counter", joules, "J")
    section.add("mean power by the counter", joules / (end - begin), "W")
    integral = integrated(watts, begin, end)
    section.add("mean power by readings", integral / (end - begin), "W")
    section.add("counter over integral", joules / integral, "")
    assert 0.8 < joules / integral < 1.25, "the energy counter and the power readings differ"


def integrated(watts: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Joules between two moments, by the trapezoidal rule over (seconds, watts).

    The first reading counts back to the beginning, and the last on to the end.
    """
    points = [(begin, watts[0][1]), *watts, (end, watts[-1][1])]
    return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in pairwise(points))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
