"""Finds faults in a data set that this machine can see, before any process starts. No torch.

Modules of `ttt.data` do the work; the schema of a data set names its module (`looks`).
"""

import importlib
from pathlib import Path
from typing import Any

from ttt.launch.job import Launcher
from ttt.schema.run import RunConfig

Known = dict[tuple[str, ...], list[str]]  # faults by settings of a data set


def doubts(run: RunConfig, launcher: Launcher) -> list[str]:
    """Faults of the data set here; the processes may see another one."""
    if not launcher.remote or not Path(run.data.root).is_dir():
        return []
    return [f"as seen from here, {sentence}" for sentence in faults(run.data)]


def faults(data: Any, known: Known | None = None) -> list[str]:
    """What is wrong with the form of a data set that this machine can see.

    Off the clock and before any process starts; a run forgets the set again (`clear_cache`).

    Args:
        data: Its settings.
        known: What was found of other settings; takes in what is found now.
    """
    module = getattr(data, "looks", None)  # a user's own data set may come without
    if module is None:
        return []
    looks = importlib.import_module(module)
    known = {} if known is None else known
    key = (module, *(str(getattr(data, name)) for name in looks.SETTINGS))
    if key not in known:
        seen = looks.examined(data, quick=True)
        known[key] = [*looks.faults(data), *(seen.sentences() if seen else [])]
    return known[key]


def making(benchmark: str) -> str:
    """How the set of a benchmark is made, as the end of a sentence; empty if ttt cannot make it."""
    from ttt.cli.data import preparers  # noqa: PLC0415  only who lacks the set waits for them

    names = [
        name
        for name, module in preparers().items()
        if module.NEEDS and getattr(module, "BENCHMARK", name) == benchmark
    ]
    return "".join(f", made by: ttt data {name} --src ... --out data/{name}" for name in names)
