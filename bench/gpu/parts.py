"""The learner and the batches of a benchmark, from conf/, where Hydra may not be installed.

Reads the same YAML files and the same schemas as Hydra does, and as much of its language as these
files use below `model`, `task`, `optim`, `schedule` and `data`. tests/bench/test_gpu.py compares
what it reads of every benchmark with what Hydra composes.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ttt.data.dali import noise
from ttt.data.decoder import Decoded
from ttt.distributed.parallelize import parallelize
from ttt.distributed.world import Solo
from ttt.learner import StandardLearner, set_arithmetic
from ttt.protocols import Shard, Synthetic, Task
from ttt.schema import nodes

CONF = Path(__file__).resolve().parents[2] / "conf"
ALL = ("digits", "cifar10", "clicks", "dates", "resnet", "transformer", "gnmt", "dlrm_dcnv2")
SMALL = ("digits", "clicks", "dates")  # as a CPU can do them in seconds
PRECISIONS = ("bf16", "fp32", "tf32", "fp16")  # by what is asked for most
GROUPS = ("data", "model", "task", "optim", "schedule")
SETTINGS = ("benchmark", "seed", "precision", "channels_last", "accumulate", "clip_norm", "target")
# GPUs that share a batch of a closed benchmark: their batches are those of published entries on 8.
GPUS_OF_AN_ENTRY = 8
# More rows of a table than these are left out: all of Criteo's tables with Adagrad's sums are
# 209 GB, and filling a table takes host time.
ROWS = 1_000_000
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


def settings(benchmark: str) -> dict[str, Any]:
    """What conf/benchmark/NAME.yaml makes of the groups GROUPS and of SETTINGS, as plain values."""
    chosen = {"task": "image", "data": "digits", "model": "resnet_small"}
    chosen |= {"optim": "sgd", "schedule": "onecycle"}
    own: dict[str, Any] = {}
    for text in _files(f"benchmark/{benchmark}", chosen):
        own = _merged(own, text)
    run = {name: _default(nodes.SCHEMAS["run"], name) for name in SETTINGS}
    run = {name: vars(value) if is_dataclass(value) else value for name, value in run.items()}
    run["seed"] = 1  # ttt run's own, outside the closed division
    for group, name in chosen.items():
        run[group] = _node(f"{group}/{name}")
    run = _merged(run, {name: value for name, value in own.items() if name in run})
    return {name: _resolved(value, run) for name, value in run.items()}


def _files(name: str, chosen: dict[str, str]) -> list[dict[str, Any]]:
    """The files a benchmark is made of, later ones count; `chosen` gets what they override."""
    text = _read(name)
    found = []
    for entry in text.pop("defaults"):
        if entry == "_self_":
            continue
        [(group, file)] = entry.items()
        if group.startswith("override /"):
            chosen[group.removeprefix("override /")] = file
        else:
            found += _files(f"{group.strip('/')}/{file}", chosen)
    return [*found, text]


def _node(name: str) -> dict[str, Any]:
    """A file of a group, on top of the schema that it names."""
    text = _read(name)
    [schema] = [each for each in text.pop("defaults") if each != "_self_"]
    kind = nodes.SCHEMAS[schema.removeprefix("/schema/").removesuffix("@_here_")]
    return {field.name: _default(kind, field.name) for field in fields(kind)} | text


def _read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CONF / f"{name}.yaml").read_text()))


def _default(kind: type, name: str) -> Any:
    [field] = [each for each in fields(kind) if each.name == name]
    return field.default if field.default_factory is MISSING else field.default_factory()


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return below | above | both


def _resolved(value: Any, run: dict[str, Any]) -> Any:
    """The value with ${a.b} replaced by the setting of that name."""
    if isinstance(value, dict):
        return {name: _resolved(each, run) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    if whole := _REFERENCE.fullmatch(value):
        return _resolved(_setting(whole[1], run), run)
    return _REFERENCE.sub(lambda found: str(_setting(found[1], run)), value)


def _setting(name: str, run: dict[str, Any]) -> Any:
    value: Any = run
    for part in name.split("."):
        value = value[part]
    return value


@dataclass
class Built:
    """A benchmark on one device.

    Attributes:
        learner: Warm, at update 0.
        task: Of the benchmark.
        synthetic: Batches of noise, as one GPU of an MLPerf entry, or a process alone, gets them.
        precision: What the learner computes in.
        label: What is different from the benchmark; empty if nothing is.
    """

    learner: StandardLearner
    task: Task
    synthetic: Synthetic
    precision: str
    label: str


def build(
    benchmark: str,
    device: torch.device,
    *,
    precision: str | None = None,
    compile: bool = False,
    changes: dict[str, Any] | None = None,
) -> Built:
    """Build and warm up a benchmark's learner as a run does.

    Args:
        benchmark: File in conf/benchmark.
        device: Where.
        precision: Instead of the benchmark's own.
        compile: As `compile=true`.
        changes: Settings of the groups to change, as {"data": {"global_batch": 8}}.

    Raises:
        MissingExtra: A package that this benchmark needs is not installed.
    """
    run = _merged(settings(benchmark), changes or {})
    precision = precision or str(run["precision"])
    set_arithmetic(precision)
    torch.manual_seed(run["seed"])
    world = Solo(device)
    label = _shorten(run)
    layout = torch.channels_last if run["channels_last"] else torch.contiguous_format
    task: Task = make(run["task"])
    optim = run["optim"]
    optimizer = partial(make, optim, without=("name",))
    model = make(run["model"])
    parallel = parallelize(model, world, optimizer=optimizer, compile=compile, layout=layout)
    batches, steps = synthetic(run, world)
    learner = StandardLearner(
        parallel,
        task,
        world,
        schedule=make(run["schedule"], base_lr=optim["lr"], steps_per_epoch=steps),
        precision=precision,
        accumulate=run["accumulate"],
        clip_norm=run["clip_norm"],
    )
    learner.warm_up(batches, task.metric())
    return Built(learner, task, batches, precision, label)


def synthetic(run: dict[str, Any], world: Solo) -> tuple[Synthetic, float | None]:
    """Batches of noise in a benchmark's shapes, and its updates an epoch; opens no file.

    Images are made here, and need no DALI; the others are made by the loader of a run.
    """
    data = run["data"]
    shard = Shard(0, GPUS_OF_AN_ENTRY if run["benchmark"]["division"] == "closed" else 1)
    if "size" not in data:
        loader = make(data, without=("loader", "prepare"), world=world)
        return loader.synthetic(shard), loader.steps_per_epoch
    layout = torch.channels_last if run["channels_last"] else torch.contiguous_format

    def batch(images: int) -> Any:
        shape = (images, 3, data["size"], data["size"])
        pixels = torch.empty(shape, device=world.device, memory_format=layout)
        labels = torch.empty(images, dtype=torch.int64, device=world.device)
        return noise(Decoded(pixels, labels, np.arange(images)), data["classes"])

    part = data["global_batch"] // shard.count
    steps = data["train_samples"] / data["global_batch"]
    return Synthetic([batch(part), batch(part)], [batch(data["eval_batch"])]), steps


def _shorten(run: dict[str, Any]) -> str:
    """Leave out rows of the largest tables; says so."""
    rows: Sequence[int] = run["model"].get("rows") or ()
    if not any(count > ROWS for count in rows):
        return ""
    for node in (run["model"], run["data"]):
        node["rows"] = [min(count, ROWS) for count in node["rows"]]
    return f"tables of at most {ROWS:,} rows"


def make(node: dict[str, Any], *args: Any, without: Sequence[str] = (), **more: Any) -> Any:
    """Call a node's `_target_` with its values."""
    module, _, name = node["_target_"].rpartition(".")
    values = {key: value for key, value in node.items() if key not in (*without, "_target_")}
    return getattr(importlib.import_module(module), name)(*args, **values, **more)
