"""Official benchmarks that are made small, for tests of what becomes of their logs.

The product has no way to do this: a run that is not as its id says is refused. A test freezes one
all the same and runs a worker that leaves out that one judgement and nothing else.
"""

import random
from pathlib import Path
from unittest import mock

from ground import PROJECT, environment
from ranks import in_a_process
from ttt import claim, config, worker
from ttt.cli import looked
from ttt.cli import run as command_line

OUTSIDE = PROJECT / "tests" / "outside"


def problems(run) -> list[str]:
    """What is wrong with a run, but that the folder it names, this one, is no data set."""
    with mock.patch.object(looked, "faults", return_value=[]):
        return command_line.problems(run)


def frozen(where: Path, *overrides: str, command: str = "ttt run") -> Path:
    """The folder of one run, whatever its claim is worth, below `where`.

    A closed run draws its seed. Drawn here by the same rule from a source that is always the same:
    so small a run may diverge with one seed and not with another.
    """
    config.register()
    composed = config.compose([*overrides, f"run_root={where / 'runs'}"])
    with mock.patch.object(claim.random, "SystemRandom", return_value=random.Random(5)):
        return command_line.freeze(composed, 1, 1, command.split()).runs[0]


def start(folder: Path, *, judged: bool = False, **variables: str):
    """One process of a frozen run; `judged`: by all that the product's own worker judges it."""
    return in_a_process(
        worker.main if judged else unjudged,
        [str(folder)],
        cwd=folder.parents[3],
        environment=environment(PYTHONPATH=f"{PROJECT}:{PROJECT / 'tests' / 'support'}:{OUTSIDE}")
        | variables,
    )


def unjudged(arguments: list[str]) -> int:
    claim.problems = lambda run: []
    return worker.main(arguments)
