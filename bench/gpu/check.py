"""What was typed for bench/gpu.sh: prints the device, or all that is wrong; writes no file.

    python3 -m gpu.check "SECTION SECTION ..." [OUT]

The first argument is the names of all sections. Exit code 2 if something is wrong. Needs Python
alone: it is to say what is absent.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

REFUSED = 2
_PYTHON = (3, 11)
# Modules without which no section can run, and the packages that they are in.
_REQUIRED = {"numpy": "numpy", "yaml": "pyyaml", "psutil": "psutil", "pynvml": "nvidia-ml-py"}
_OURS = ("figures.jsonl", "log.txt", "summary.txt")


def main(arguments: Sequence[str]) -> int:
    """Check; returns the exit code."""
    sections, *rest = arguments
    device, wrong = _device(os.environ.get("DEVICE", ""))
    problems = [*_variables(os.environ, sections.split()), *_out(rest), *_packages(), *wrong]
    for problem in problems:
        print(f"bench/gpu.sh: {problem}", file=sys.stderr)
    if problems:
        return REFUSED
    print(device)
    return 0


def _variables(given: Mapping[str, str], sections: Sequence[str]) -> Iterator[str]:
    """What is wrong with BUDGET, SECTIONS and WHEELS."""
    budget = given.get("BUDGET") or "540"
    if not (budget.isascii() and budget.isdigit() and not budget.startswith("0")):
        yield f"BUDGET={budget} is not a whole number of seconds above 0; type BUDGET=240"
    chosen = given.get("SECTIONS", "")
    if unknown := [name for name in chosen.split() if name not in sections]:
        yield f"SECTIONS names {', '.join(unknown)}; the sections are {', '.join(sections)}"
    elif chosen and not chosen.split():
        yield f"SECTIONS names no section; the sections are {', '.join(sections)}"
    if not (wheels := given.get("WHEELS")):
        return
    if not Path(wheels).is_dir():
        yield f"WHEELS={wheels} is not a folder; type the folder that the wheels are in"
    elif not _wheels(wheels):
        yield f"WHEELS={wheels} has no file *.whl or *.whl.part-*; `bench/gpu.sh --help` lists some"
    elif not _found("pip"):
        yield f"WHEELS={wheels} needs pip, which {sys.executable} has not; install pip"


def _wheels(folder: str) -> list[str]:
    return [
        file.name.lower().replace("_", "-")
        for pattern in ("*.whl", "*.whl.part-*")
        for file in Path(folder).glob(pattern)
    ]


def _out(arguments: Sequence[str]) -> Iterator[str]:
    """What is wrong with the folder for the figures, or with what stands in its place."""
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        yield f"cannot read `{' '.join(arguments)}`; type bench/gpu.sh OUT, or bench/gpu.sh --help"
        return
    out = Path(arguments[0] if arguments and arguments[0] else "gpu-figures")
    if there := [name for name in _OURS if (out / name).exists()]:
        yield f"{out / there[0]} is there; type another folder: bench/gpu.sh OUT"
    above = out.absolute()
    while not (above.exists() or above.is_symlink()):
        above = above.parent
    if not above.is_dir():
        yield f"OUT={out}: {above} is not a folder; type another one: bench/gpu.sh OUT"
    elif not os.access(above, os.W_OK | os.X_OK):
        yield f"OUT={out}: you may not write to {above}; type another folder: bench/gpu.sh OUT"


def _packages() -> Iterator[str]:
    """What every section needs and is neither installed nor among the wheels."""
    brought = _wheels(os.environ.get("WHEELS") or os.devnull)
    absent = [
        package
        for module, package in _REQUIRED.items()
        if not _found(module) and not any(wheel.startswith(f"{package}-") for wheel in brought)
    ]
    if absent:
        yield f"{sys.executable} has no {', '.join(absent)}; install them, or {_ANOTHER}"


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # as in gpu.figures, which imports torch
        return False


_ANOTHER = "activate the environment that has them, or type PYTHON=.venv/bin/python bench/gpu.sh"


def _device(asked: str) -> tuple[str, list[str]]:
    """The device to measure, and why there is none: a GPU that is not there must not be a CPU."""
    if asked not in ("", "cpu", "cuda"):
        return "", [f"DEVICE={asked} is unknown; type DEVICE=cuda or DEVICE=cpu"]
    if sys.version_info < _PYTHON:
        found = ".".join(map(str, sys.version_info[:2]))
        return "", [f"{sys.executable} is Python {found}, and ttt needs 3.11; {_ANOTHER}"]
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that it loads is absent
        return "", [f"{sys.executable} cannot import torch ({error}); {_ANOTHER}"]
    if asked == "cpu" or torch.cuda.is_available():
        return asked or "cuda", []
    cause = (
        f"see what nvidia-smi prints (torch {torch.__version__} is for CUDA {torch.version.cuda})"
    )
    if torch.version.cuda is None:
        cause = f"torch {torch.__version__} is a build for CPUs, install one for CUDA"
    shown = f"DEVICE={asked}: " if asked else ""
    return "", [f"{shown}torch sees no GPU: {cause}; to try it on the CPU, type DEVICE=cpu"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
