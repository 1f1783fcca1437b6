"""Where the project is, how the real command is called, and for how long a test waits."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# Seconds after which a test calls a program hung. A busy machine is slow; pytest itself waits 300.
HUNG = 240.0

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., list[str]]


def command(*arguments: str) -> list[str]:
    """The ttt command, run by this interpreter."""
    return [sys.executable, "-m", "ttt", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """Ours, without what a launcher above us may have set, and a terminal its width."""
    left_out = ("TTT_", "TORCHINDUCTOR_", "COLUMNS", "LINES", "WARM_")  # torch sets one of its own
    ours = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    paths = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return ours | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | variables
