"""What machine and what software this is: the contents of environment.json."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import torch

import ttt
from ttt import config, modes, redact, secret_names
from ttt.machine import hardware, installed, kernel
from ttt.protocols import World
from ttt.run_folder import RunFolder
from ttt.schema.run import RunConfig

_PACKAGES = "torch numpy hydra-core omegaconf mlperf-logging rich psutil".split()
# Prefixes and names that change how a run behaves. Anything else, secrets above all, stays out.
_PREFIXES = ("CUDA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "DALI_", "TORCH_", "TORCHINDUCTOR_")
_NAMES = ("SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_NTASKS", "LD_PRELOAD", "PYTHONHASHSEED")


def write(run_config: RunConfig, world: World, folder: Path) -> None:
    """Write environment.json, in which each node describes itself; all processes call it together.

    Args:
        run_config: The run; the file is private where its config.yaml is.
        world: Its processes.
        folder: The run folder.
    """
    mine = environment(world.device, run_config.command) if world.local_rank == 0 else None
    nodes = world.gather_nodes(mine)
    if world.rank == 0 and mine:
        text = json.dumps(mine | {"nodes": nodes}, indent=2)
        private = redact.holds(config.plain(run_config))
        modes.write(RunFolder(folder).environment, text + "\n", private=private)


def environment(device: torch.device, command: list[str]) -> dict[str, Any]:
    """Where and with what this process runs; null for what is unknown."""
    return {
        "command": command,
        "ttt": ttt.__version__,
        "git": _git(Path(ttt.__file__).parent, config.folder()),
        "python": sys.version.split()[0],
        "packages": {
            "ttt": ttt.__version__,
            **{name: installed.version(name) for name in _PACKAGES},
            **installed.dali(),
        },
        "host": platform.node(),
        "system": platform.platform(),
        "processor": kernel.processor_model(),
        "cores": psutil.cpu_count(logical=False),
        "threads": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "accelerator": accelerator(device),
        "variables": variables(os.environ),
    }


def accelerator(device: torch.device) -> dict[str, Any] | None:
    """Name, memory and software of the device; None on a CPU."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "cudnn": hardware.cudnn() or None,
        "nccl": ".".join(map(str, torch.cuda.nccl.version())),
    }


def variables(environment: Any) -> dict[str, str]:
    """The environment variables that change how a run behaves, by an allow-list."""
    return {
        name: redact.text(value)
        for name, value in sorted(environment.items())
        if (name in _NAMES or name.startswith(_PREFIXES)) and not secret_names.named(name)
    }


def _git(package: Path, conf: Path) -> dict[str, Any] | None:
    """Commit, and whether code or configuration differ from it; None for an installed package.

    A repository around an installed package, as around a virtual environment, knows nothing of it.
    """
    command = ["git", "-C", str(package)]
    try:
        known = [*command, "ls-files", "--error-unmatch", "__init__.py"]
        subprocess.run(known, capture_output=True, check=True)
        commit = subprocess.run(
            [*command, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        status = subprocess.run(
            [*command, "status", "--porcelain", "--", str(package), str(conf)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(status.strip())}
