"""The data set of a result: how it is prepared, and how others can tell that theirs is the same."""

import argparse
import importlib
import json
import pkgutil
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from ttt import config, prepare
from ttt.prepare.folder import MANIFEST
from ttt.submission.typed import value_of

Config = Mapping[str, Any]


def expected(frozen: Config, run: Path) -> dict[str, Any]:
    """What a data set must have to be that of the runs.

    Its manifest is that in data.root now, without the place its files came from; null where there
    is none, as on another machine than that of the runs.

    Args:
        frozen: The configuration of a run.
        run: The folder of that run.
    """
    names = ("train_samples", "eval_samples", "train_dir", "eval_dir")
    known: dict[str, Any] = {name: value_of(frozen, f"data.{name}") for name in names}
    root = _typed_in(frozen, run) / str(value_of(frozen, "data.root"))
    try:
        manifest = json.loads((root / MANIFEST).read_bytes())
    except (OSError, ValueError):
        manifest = None
    if isinstance(manifest, dict):
        manifest.pop("source", None)
    return known | {"manifest": manifest}


def _typed_in(frozen: Config, run: Path) -> Path:
    """Where a run was typed, which its paths are relative to; it lies three below its run_root."""
    run_root, above = PurePath(str(frozen.get("run_root"))), run.resolve().parents
    parts = 0 if run_root.is_absolute() else len(run_root.parts)
    if parts and len(above) > 2 + parts and above[2 + parts] / run_root == above[2]:
        return above[2 + parts]
    return Path()


def preparation(frozen: Config) -> tuple[str, str | None] | None:
    """The command that prepares the data set, without --out and sources.

    Returns:
        The command, and which sources it wants, None if none; None for a data set that ttt does not
        prepare.
    """
    name = _preparer(frozen)
    if name is None:
        return None
    module = importlib.import_module(f"{prepare.__name__}.{name}")
    command = ["ttt", "data", name, *_options(module, frozen)]
    return shlex.join(command), getattr(module, "NEEDS", None)


def _preparer(frozen: Config) -> str | None:
    """The data set's name for `ttt data`: that of its own preparer, else of its choice in conf."""
    known = {info.name for info in pkgutil.iter_modules(prepare.__path__)}
    module = str(value_of(frozen, "data.prepare") or "")
    choice = module.rpartition(".")[2] if module.startswith("ttt.prepare.") else _choice(frozen)
    for name in (choice, choice.rstrip("0123456789")):  # wmt16 and wmt17 are made alike
        if name in known:
            return name
    return None


def _choice(frozen: Config) -> str:
    """What stands for `data=` on the command line, or in the benchmark's file."""
    typed = [str(word) for word in frozen.get("command") or []]
    chosen = [word for word in typed if word.startswith(("benchmark=", "data="))]
    config.register()
    try:
        return config.choice("data", chosen)
    except config.CompositionError:  # a benchmark of a user's own, or one of a sweep
        return ""


def _options(module: ModuleType, frozen: Config) -> list[str]:
    """Options of a preparer that the configuration has settings of the same name for."""
    if not hasattr(module, "options"):
        return []
    parser = argparse.ArgumentParser()
    module.options(parser)
    found = []
    for name, default in vars(parser.parse_args([])).items():
        value = value_of(frozen, f"data.{name}")
        if value is not None and value != default and isinstance(value, (str, int, float)):
            found += [f"--{name.replace('_', '-')}", str(value)]
    return found
