"""Counts settings of a data set that are null, such as `data.train_samples=null`.

`ttt run` counts them once, before the run, and freezes them as numbers. No torch.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttt import config
from ttt.errors import DataError
from ttt.schema.run import RunConfig

_NUMBERS = ("train_samples", "eval_samples")  # that every data set has


def fill(composed: Any) -> Any:
    """A configuration with its null settings counted, if this machine can see the set."""
    data = config.data(composed)
    names, module = missing(data), getattr(data, "looks", None)
    if not names or module is None or not Path(data.root).is_dir():
        return composed
    try:
        found = importlib.import_module(module).counts(data)
    except DataError:  # which `problems` tells, as a fault of the set
        return composed
    return config.changed(composed, {f"data.{name}": found.get(name) for name in names})


def missing(data: Any) -> Sequence[str]:
    """The settings that must be counted and are still null."""
    names = getattr(data, "counted", _NUMBERS)
    return [name for name in names if getattr(data, name, 0) is None]


def problems(run: RunConfig, *, remote: bool) -> list[str]:
    """A sentence for each setting that could not be counted, with what to type.

    Args:
        run: The configuration after `fill`.
        remote: Whether its processes run on other machines.
    """
    if not getattr(run.data, "root", "."):  # another fault says so
        return []
    root = Path(getattr(run.data, "root", "."))
    if not root.is_dir():
        if getattr(run.data, "prepare", None) or not remote:
            return []  # ttt makes and counts it later, or another fault says it
        why = f"{root} is no folder where this is typed"
    elif hasattr(run.data, "looks"):
        why = "the set does not tell"
    else:
        why = f"{run.data._target_} is a class of your own, of which ttt knows no files"
    return [
        f"data.{name}=null cannot be counted: {why}; data.{name}=N" for name in missing(run.data)
    ]
