"""`ttt run` of the benchmarks that make their own data, on the GPU and the CPU, to the target."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gpu import figures

# What a benchmark needs beside Hydra and mlperf-logging.
_NEEDS = {
    "digits": ("nvidia.dali", "sklearn", "PIL"),
    "clicks": (),
    "dates": ("babel", "num2words", "sentencepiece", "sacrebleu"),
}
_SHOWN = {"time_to_train_s": "s", "init_s": "s", "quality": "", "samples_per_s": "samples/s"}
_SHOWN |= {"step_ms_p50": "ms", "data_wait_fraction": "", "peak_memory_bytes": "bytes"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", nargs="+", choices=_NEEDS, default=[*_NEEDS])
    options = figures.options(parser, arguments)

    def measure(section: figures.Section) -> None:
        figures.need("hydra", "omegaconf", "mlperf_logging")
        devices = ("cuda", "cpu") if section.cuda else ("cpu",)
        for device in devices:
            for name in options.benchmarks:
                section.part(f"{name} on {device}", one, name, device, options.seconds)

    return figures.run(figures.Section("runs", options), measure, bound=False)


def one(section: figures.Section, name: str, device: str, seconds: float) -> None:
    """One run, and what its summary says.

    Raises:
        AssertionError: It did not reach its target, or failed.
        Skip: A package that it needs is absent.
    """
    figures.need(*_NEEDS[name])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ttt", "run", f"benchmark={name}", f"device={device}"]
        begin = time.perf_counter()
        done = subprocess.run(
            [*command, f"run_root={folder}/runs", f"data.root={folder}/data"],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            env=os.environ | {"HYDRA_FULL_ERROR": "1"},
        )
        section.add(f"{name} on {device}, whole command", time.perf_counter() - begin, "s")
        print(done.stdout[-2000:])
        assert done.returncode == 0, f"exit code {done.returncode}: {done.stderr[-300:]}"
        [file] = Path(folder, "runs").glob("*/*/*/summary.json")
        summary = json.loads(file.read_text())
    for key, unit in _SHOWN.items():
        section.add(f"{name} on {device}, {key}", summary.get(key), unit)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    figures.leave(code)
