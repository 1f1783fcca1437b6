"""What a section of bench/gpu.sh measures, as lines of JSON, and what it could not do, by name.

A line is {"section", "name", "value", "unit"}; a value that could not be measured is null, with the
reason in "why". A section ends with exit code 0, FAILED, or SKIPPED with a reason.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ttt.distributed.world import Solo
from ttt.errors import MissingExtra
from ttt.machine import binding
from ttt.schema.choices import Binding

FAILED = 1
SKIPPED = 77  # as in automake's tests

# Packages of which ttt's parts need one or the other, and which a machine for PyTorch may not have.
OPTIONAL = {
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "antlr4": "antlr4-python3-runtime",
    "mlperf_logging": "mlperf-logging",
    "nvidia.dali": "nvidia-dali-cuda130",
    "babel": "babel",
    "num2words": "num2words",
    "sentencepiece": "sentencepiece",
    "sacrebleu": "sacrebleu",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "zeus": "zeus",
    "pytest": "pytest",
    "hypothesis": "hypothesis",
    "pytest_timeout": "pytest-timeout",
}


class Skip(Exception):
    """A section, or a part of one, that cannot be done here; the text says why."""


def absent(*modules: str) -> list[str]:
    """Which of these modules are not installed, by the names of their packages."""
    return [OPTIONAL.get(name, name) for name in modules if not _found(name)]


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it, or one that a test hides
        return False


def need(*modules: str) -> None:
    """Skip what follows if a module is not installed.

    Raises:
        Skip: It names the packages.
    """
    if missing := absent(*modules):
        raise Skip(f"needs {', '.join(missing)}, not installed")


class Section:
    """One section: its figures, and what failed in it.

    Args:
        name: As bench/gpu.sh names it.
        options: What `options` gave.
    """

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name = name
        self.device = torch.device("cuda", 0) if options.device == "cuda" else torch.device("cpu")
        self.failed: list[str] = []
        self.skipped: list[str] = []
        self._file = Path(options.figures)
        self._end = time.monotonic() + options.seconds

    @property
    def cuda(self) -> bool:
        """Whether this measures a GPU."""
        return self.device.type == "cuda"

    def add(self, name: str, value: object, unit: str = "", why: str = "") -> None:
        """Write one figure; `why` says why a value is None."""
        line = {"section": self.name, "name": name, "value": value, "unit": unit}
        if why:
            line["why"] = why
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = f"{value:.5g}" if isinstance(value, float) else value
        print(f"{name}: {shown} {unit}{f'({why})' if why else ''}".rstrip(), flush=True)

    def late(self) -> bool:
        """Whether the time of this section is up, so that no further part should begin."""
        return time.monotonic() > self._end

    def part(self, name: str, do: Callable[..., None], *args: Any, **more: Any) -> None:
        """Do one part; if it fails or cannot be done, say so and go on with the next.

        Args:
            name: Of the part.
            do: Called with this section and the other arguments.
            args: Of `do`.
            more: Of `do`.
        """
        if self.late():
            self.skipped.append(f"{name}: no time left")
            return
        print(f"{name} ...", flush=True)
        try:
            do(self, *args, **more)
        except (Skip, MissingExtra) as skip:
            self.skipped.append(f"{name}: {skip}")
            print(f"{name}: skipped: {skip}", flush=True)
        except Exception as error:
            reason = f"{name}: {type(error).__name__}: {error}"
            self.failed.append(reason)
            traceback.print_exc()
            # At once: it must be in the figures also if this section is stopped later.
            self.add("failed", None, why=" ".join(reason.split())[:300])
        finally:
            if self.cuda:
                gc.collect()  # a model in a cycle of references would keep its memory
                torch.cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.cuda:
            torch.cuda.synchronize(self.device)


def options(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read a section's command line, with what all sections take."""
    default = "cuda" if torch.cuda.is_available() else "cpu"
    taken = "default: cuda where torch sees a GPU, cpu where it does not; here: %(default)s"
    # A part that has begun is to end before bench/gpu.sh ends the section.
    seconds = 0.75 * float(os.environ.get("TTT_BENCH_SECONDS", "80"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default=default, help=taken)
    parser.add_argument("--figures", default="figures.jsonl", help="file that lines are added to")
    parser.add_argument("--seconds", type=float, default=seconds, help="no part begins after these")
    return parser.parse_args(arguments)


def run(section: Section, parts: Callable[[Section], None], *, bound: bool = True) -> int:
    """Do a section; returns its exit code. The last line printed is the reason, if it is not 0.

    Args:
        section: What to do.
        parts: Does its parts, in order.
        bound: Take the cores and compute threads that a worker of `ttt run` takes. Not where the
            section starts `ttt` itself, which would get no more cores than this process has.
    """
    if section.cuda and not torch.cuda.is_available():
        return _close(FAILED, "--device cuda: torch sees no GPU; type --device cpu")
    print(f"{section.name} on {section.device}", flush=True)
    try:
        if section.cuda:
            torch.cuda.set_device(section.device)
        if bound:
            binding.bind_cpus(Binding.auto, Solo(section.device))
        parts(section)
    except (Skip, MissingExtra) as skip:
        return _close(SKIPPED, str(skip))
    for reason in section.skipped:
        section.add("skipped", None, why=reason)
    if section.failed:
        return _close(FAILED, f"{len(section.failed)} failed: {'; '.join(section.failed)}")
    return 0


def _close(code: int, reason: str) -> int:
    print(" ".join(reason.split())[:500], file=sys.stdout, flush=True)
    return code


def leave(code: int) -> None:
    """End the process at once: what a failed CUDA context would do at exit can hang."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
