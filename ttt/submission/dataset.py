"""The data set of a result: how to prepare it, and how to verify that another copy is the same."""

import argparse
import importlib
import os
import pkgutil
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ttt import config, foreign, prepare
from ttt.run_folder import RunFolder
from ttt.submission.typed import command, value_of

Config = Mapping[str, Any]

_CHOSEN = re.compile(r"(benchmark|data)=[\w-]+")  # a name: anything else would be evaluated


def expected(frozen: Config, run: Path) -> dict[str, Any]:
    """What a data set must have to be that of the runs.

    Its manifest is the one that the run kept of it. The configuration of another person's run may
    name any folder as data.root, so none is looked into; a run that kept no manifest has null.

    Args:
        frozen: The configuration of a run.
        run: The folder of that run.
    """
    names = (
        *("train_samples", "eval_samples", "train_dir", "eval_dir"),
        *("train", "eval", "sequence_length"),  # of tokens, which may come without a manifest
    )
    known: dict[str, Any] = {name: value_of(frozen, f"data.{name}") for name in names}
    file = RunFolder(run).manifest
    manifest = foreign.mapping(file, inside=run) if os.path.lexists(file) else None
    return known | {"manifest": manifest}


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
    """The choice of `data` on the command line, or in the benchmark's file."""
    chosen = [word for word in command(frozen) if _CHOSEN.fullmatch(word)]
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
