"""Run folders as `ttt run` leaves them, for tests of what reads them."""

import json
from pathlib import Path

CONFIG = """\
benchmark: {{id: digits}}
target: {{metric: top1, threshold: 0.97}}
data: {{global_batch: {batch}, seed: {seed}}} # as loaders of text are told it
seed: {seed}
runs: 5
run_root: runs
command: [ttt, run, seed={seed}]
"""

_SUMMARY = {
    "benchmark": "digits",
    "seed": 1,
    "run": 0,
    "status": "success",
    "reason": "top1 0.975 >= 0.97",
    "metric": "top1",
    "quality": 0.975,
    "target": 0.97,
    "higher_is_better": True,
    "time_to_train_s": 10.0,
    "epochs": 8,
    "samples": 15_005,
    "world_size": 2,
    "nodes": 1,
    "accelerators": 0,
    "accelerator_name": None,
    "samples_per_s": 1500.5,
    "data_wait_fraction": 0.042,
    "eval_interval_s": 0.5,
    "energy_j": None,
    "compliance": {
        "ruleset": "6.1.0",
        "division": "open",
        "passed": True,
        "official": False,
        "problems": [],
    },
}


def finished(launch: Path, seed: int, *, batch: int = 64, **changes: object) -> Path:
    folder = launch / f"seed_{seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(seed=seed, batch=batch))
    summary = _SUMMARY | {"seed": seed} | changes
    summary.setdefault("elapsed_s", summary["time_to_train_s"])
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def aborted(launch: Path, seed: int) -> Path:
    why = "target.max_epochs=30 passed at top1 0.9, not >= 0.97"
    return finished(launch, seed, status="aborted", time_to_train_s=None, quality=0.9, reason=why)


def died(launch: Path, seed: int, events: str | None = None, batch: int = 64) -> Path:
    folder = launch / f"seed_{seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(CONFIG.format(seed=seed, batch=batch))
    if events is not None:
        (folder / "events.jsonl").write_text(events)
    return folder
