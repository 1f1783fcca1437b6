"""`ttt plan`: whether a run would fit on a machine that is not here, and what it would send."""

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from ttt import config
from ttt.cli import counted
from ttt.cli.composed import add_settings, composed, demand_folder
from ttt.cli.run import make_launcher
from ttt.errors import LAUNCH_FAILED, OK, ConfigError, writing

_EPILOG = """\
examples:
  ttt plan benchmark=llama31_8b launcher.gpus_per_node=8 parallel=fsdp data.global_batch=8 \\
      system=dgx_h100
  ttt plan benchmark=llama31_8b launcher.nodes=128 launcher.gpus_per_node=8 parallel=fsdp \\
      parallel.tensor=8 data.global_batch=128 system.memory_gb=141

One process counts a step of the run's own code, on tensors without values: no accelerator, no
cluster and no data set are needed. Without launcher=... it is that of a SLURM job.

exit codes:
  0  it fits, or the memory of the machine is not known
  2  wrong use, or the settings do not divide
  5  it does not fit
"""
# Of a set that is not here: a step does not depend on them.
_STAND_IN = 10**6


def main(arguments: list[str]) -> int:
    """Compose, count, and show.

    Raises:
        ConfigError: The settings are wrong, or do not divide.
    """
    options = parser().parse_args(arguments)
    demand_folder(options.json)
    words = options.overrides
    if not any(word.startswith("launcher=") for word in words):
        words = ["launcher=slurm", *words]
    made = composed(words, options.config_dir)
    processes, nodes = _processes(made)
    if found := config.resolve(made, processes=processes).problems(processes):
        raise ConfigError(found)
    plan = importlib.import_module("ttt.plan.answer")  # torch takes seconds
    answer = plan.answer(_complete(made), processes, nodes)
    for line in plan.shown(answer):
        print(line)
    if options.json:
        with writing("--json", options.json):
            Path(options.json).write_text(json.dumps(answer, indent=2) + "\n")
    return LAUNCH_FAILED if answer["fits"] is False else OK


def _processes(made: Any) -> tuple[int, int]:
    """Processes of a run, and nodes."""
    run = config.resolve(made)
    nodes = getattr(run.launcher, "nodes", 1)
    if found := list(run.launcher.problems()) if hasattr(run.launcher, "problems") else []:
        raise ConfigError(found)
    return make_launcher(run).processes(), nodes


def _complete(made: Any) -> Any:
    """With a root and numbers for a set that is not here."""
    data = config.data(made)
    values: dict[str, Any] = {f"data.{name}": _STAND_IN for name in counted.missing(data)}
    if not getattr(data, "root", "."):
        values["data.root"] = "none"
    return config.changed(made, values | {"compile": False, "seed": 1})


def parser() -> argparse.ArgumentParser:
    """The arguments of this command."""
    parser = argparse.ArgumentParser(
        prog="ttt plan",
        description="Say what each process of a run would hold and send, and whether it fits.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_settings(parser, "benchmark=llama31_8b")
    parser.add_argument("--json", metavar="FILE", help="also write everything to this file")
    return parser
