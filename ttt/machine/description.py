"""MLPerf's systems file for the machines of a run: the contents of system.json.

Every field is text, as MLCommons' summaries join them, and "" where it is not known. No host name
gets in: results are published.
"""

import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch

import ttt
from ttt import redact
from ttt.machine import hardware, installed
from ttt.protocols import World
from ttt.run_folder import RunFolder
from ttt.schema.run import RunConfig
from ttt.schema.system import FIELDS

_SOFTWARE = ("sentencepiece", "sacrebleu")  # torch is `framework`


def write(run_config: RunConfig, world: World, folder: Path) -> None:
    """Write system.json into the run folder, on rank 0."""
    if world.rank == 0:
        text = json.dumps(redact.settings(system(run_config, world)), indent=2)
        RunFolder(folder).system.write_text(text + "\n")


def system(run_config: RunConfig, world: World) -> dict[str, Any]:
    """The name of the system and its description, of the machine this process is on.

    Args:
        run_config: Its `system.description` overrides what the machine reports.
        world: Has the number of nodes, and of accelerators on this one.

    Returns:
        {"id", "description"}: the latter as MLCommons' system_desc_checker wants it.
    """
    typed = run_config.system
    fields = dict.fromkeys(FIELDS, "")
    fields |= hardware.processor() | hardware.memory()
    fields |= hardware.storage(Path(run_config.data.root)) | hardware.network()
    fields |= hardware.accelerator(world.device)
    fields |= {
        "submitter": run_config.submission.org,
        "division": str(run_config.benchmark.division),
        "status": typed.availability(run_config.submission.status),
        "number_of_nodes": str(world.nodes),
        "accelerators_per_node": str(world.local_size if world.device.type == "cuda" else 0),
        "framework": f"PyTorch {torch.__version__}",
        "other_software_stack": _software(world.device),
        "operating_system": _operating_system(),
    }
    fields |= {name: str(value) for name, value in typed.description.items() if value is not None}
    fields["system_name"] = fields["system_name"] or _name(fields)
    return {"id": typed.id or _file_name(fields), "description": fields}


def _name(fields: dict[str, str]) -> str:
    """One node by what is in it, as "8x NVIDIA H100 80GB HBM3"."""
    count, model = fields["accelerators_per_node"], fields["accelerator_model_name"]
    if count == "0" or not model:
        count = fields["host_processors_per_node"]
        model = fields["host_processor_model_name"] or platform.machine()
    plain = re.sub(r"\((R|TM|C)\)", "", model, flags=re.IGNORECASE)
    return " ".join(f"{count}x {plain}".split()) if count else plain


def _file_name(fields: dict[str, str]) -> str:
    """As submitters name their systems: the machine, how many, and the framework."""
    version = torch.__version__.split("+")[0]
    name = f"{fields['system_name']} n{fields['number_of_nodes']} pytorch{version}"
    return re.sub(r"[^A-Za-z0-9.+-]+", "_", name).strip("_.")


def _software(device: torch.device) -> str:
    stack = {"Python": sys.version.split()[0]}
    if device.type == "cuda":
        stack["CUDA"] = torch.version.cuda or ""
        stack["cuDNN"] = hardware.cudnn()
        stack["NCCL"] = ".".join(map(str, torch.cuda.nccl.version()))
        stack["NVIDIA driver"] = hardware.driver()
    stack |= installed.dali()
    stack |= {name: installed.version(name) or "" for name in _SOFTWARE}
    stack["ttt"] = ttt.__version__
    stack["kernel"] = platform.release()
    return ", ".join(f"{name} {version}" for name, version in stack.items() if version)


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()
