"""What a tracker shows of a run: names, axes and rows, the same from every source at any time.

A run that was tracked while it went on and one rebuilt from its folder look the same. Knows no
tracker.
"""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ttt import foreign, redact
from ttt.events import Event, Kind
from ttt.foreign import ForeignError
from ttt.run_folder import RunFolder

PROGRESS_SECONDS = 1.0  # a point of the loss at most so often: a log call costs up to a millisecond

# Numbers and names a chart can have on an axis, or group by; in CONFIG as in a reader's run.
AXES = (
    "benchmark division ruleset seed run metric target higher_is_better global_batch micro_batch"
    " accumulate precision world_size nodes accelerators accelerator_name"
).split()
# Of environment.json: what a machine is. Its variables and the command stay where they are.
_SYSTEM = "ttt git python packages host system processor cores threads memory_bytes accelerator"
_SYSTEM_FIELDS = tuple(_SYSTEM.split())


def identity(*parts: object) -> str:
    """An id computed from these parts alone, so that a resumed run gets the same one."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def folder_identity(folder: Path) -> str:
    """The id of the run in BENCHMARK/LAUNCH/seed_N, wherever these folders are moved."""
    return identity(*folder.resolve().parts[-3:])


def sweep_point(facts: Mapping[str, Any]) -> str:
    """What repetitions have in common and the other points of a sweep do not, in words.

    Args:
        facts: Any of `AXES`.
    """
    machine = facts.get("accelerator_name")
    parts = [
        str(facts.get("benchmark")),
        f"{workers(facts) or 'unknown'} x {machine or 'CPU process'}",
        f"batch {facts['global_batch']}" if facts.get("global_batch") else None,
        facts.get("precision"),
    ]
    return ", ".join(str(part) for part in parts if part)[:128]  # as long as W&B takes


def workers(facts: Mapping[str, Any]) -> int | None:
    """What a sweep makes more of: accelerators, processes where there are none."""
    return facts.get("accelerators") or facts.get("world_size")


def axes(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `AXES` that are known, and the workers, which on a logarithmic axis are never 0."""
    known = {name: facts[name] for name in AXES if facts.get(name) is not None}
    return known | {"workers": workers(facts)} if workers(facts) else known


def frozen(folder: Path) -> dict[str, Any]:
    """The configuration of a run folder without secrets; its learning rate where charts find it.

    Empty if no configuration can be read.
    """
    try:
        config = foreign.mapping(RunFolder(folder).config, inside=folder)
    except ForeignError:
        return {}
    config = redact.without(config)  # a tracker shows it to others
    optim = config.get("optim")
    found: dict[str, Any] = {"ttt": config}
    if isinstance(optim, dict) and "lr" in optim:
        found["lr"] = optim["lr"]
    return found


def machine(folder: Path) -> dict[str, Any]:
    """What the machine of rank 0 is, by environment.json; empty where that is not to be read."""
    try:
        values = foreign.mapping(RunFolder(folder).environment, inside=folder)
    except ForeignError:  # a kill may have cut it
        return {}
    return {"system": {name: values[name] for name in _SYSTEM_FIELDS if name in values}}


def scalars(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The plain numbers and words of a summary, the compliance verdict among them."""
    compliance = summary.get("compliance") or {}
    return {
        name: value
        for name, value in {**compliance, **summary}.items()
        if isinstance(value, str | int | float) and value == value  # noqa: PLR0124  nan is none
    }


class Series:
    """Turns the events of one run, in their order, into rows of named values.

    Every row has the coordinates that a chart can be drawn over: seconds on the clock, samples,
    epochs.
    """

    def __init__(self) -> None:
        self._started = math.nan
        self._shown = -math.inf
        self._block: Event | None = None

    def row(self, event: Event) -> dict[str, Any] | None:
        """The row of an event; None of one that is not shown."""
        data = event.data
        match event.kind:
            case Kind.RUN_START:
                self._started = event.time
            case Kind.RESUMED:
                self._started = data["started"]
            case Kind.BLOCK_START:
                self._block = event
            case Kind.PROGRESS if event.time - self._shown >= PROGRESS_SECONDS:
                self._shown = event.time
                return self._at(event) | {"train/loss": data["loss"]}
            case Kind.BLOCK_STOP if self._block and event.time > self._block.time:
                samples = data["samples"] - self._block.data["samples"]
                rate = samples / (event.time - self._block.time)
                return self._at(event) | {"train/samples_per_s": rate}
            case Kind.QUALITY:
                values = {"eval/quality": data["value"], "eval/target": data["target"]}
                return self._at(event) | values
        return None

    def _at(self, event: Event) -> dict[str, Any]:
        data = event.data
        seconds = event.time - self._started
        return {"seconds": seconds, "samples": data["samples"], "epoch": data["epoch"]}
