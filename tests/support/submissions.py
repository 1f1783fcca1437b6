"""Run folders and trees of results to make submissions of."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import compliance_logs
from ground import PROJECT
from ttt.schema.system import FIELDS

SYSTEM = dict.fromkeys(FIELDS, "") | {
    "submitter": "somebody",
    "division": "open",
    "status": "Available cloud",
    "system_name": "a machine",
    "number_of_nodes": "1",
    "host_processors_per_node": "1",
    "accelerators_per_node": "0",
}
CONFIG = """\
benchmark: {{id: {benchmark}}}
target: {{metric: top1, threshold: 0.759}}
data: {{global_batch: 64, root: data/images}}
launcher: {{_target_: ttt.launch.torchrun.Torchrun}}
processes: 2
seed: {seed}
run: {run}
command: [ttt, run, launcher=torchrun, runs=5]
"""


@cache
def commit() -> str:
    """One that the clone of these tests has."""
    command = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def log_of(benchmark: str, division: str, seed: int, minute: float) -> list[compliance_logs.Record]:
    log = compliance_logs.resnet() if benchmark == "resnet" else compliance_logs.ours()
    compliance_logs.find(log, "seed")["value"] = seed
    compliance_logs.find(log, "submission_division")["value"] = division
    for record in log:
        record["time_ms"] += round(60_000 * minute)
    return log


def run_folder(
    launch: Path,
    run: int,
    *,
    benchmark: str = "resnet",
    division: str = "open",
    dirty: bool = False,
    status: str = "success",
    **description: str,
) -> Path:
    """A run as `ttt run` leaves it, with the log of an official benchmark, if told so."""
    seed = run + 1
    folder = launch / f"seed_{seed}"
    (folder / "power").mkdir(parents=True)
    log = log_of(benchmark, division, seed, 10 * run)
    compliance_logs.find(log, "run_stop")["metadata"]["status"] = status
    compliance_logs.write(folder / f"result_{run}.txt", log)
    (folder / "power" / "node_0.txt").write_text("watts\n")
    (folder / "config.yaml").write_text(CONFIG.format(benchmark=benchmark, seed=seed, run=run))
    ruleset = "4.0.0" if benchmark == "resnet" else "6.1.0"
    contents: dict[str, dict[str, Any]] = {
        "summary.json": {
            "benchmark": benchmark,
            "seed": seed,
            "status": status,
            "elapsed_s": 120.0 + run,
            "world_size": 2,
            "compliance": {"ruleset": ruleset, "division": division, "passed": True},
        },
        "system.json": {"id": "box", "description": SYSTEM | {"division": division} | description},
        "environment.json": {
            "command": ["ttt", "run", "launcher=torchrun", "runs=5"],
            "ttt": "0.1.0",
            "git": {"commit": commit(), "dirty": dirty},
            "python": "3.11.7",
            "packages": {"ttt": None, "torch": "2.13.0"},
        },
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def launch(folder: Path, runs: int = 5, **settings: Any) -> Path:
    for run in range(runs):
        run_folder(folder, run, **settings)
    return folder
