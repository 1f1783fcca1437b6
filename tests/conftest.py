"""Shared ground of the tests: real digits, a runner for the real command, one core each."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from slurm_testbed import Cluster, missing

torch.set_num_threads(1)
gc.set_threshold(200_000, 20, 20)  # while tests are collected, next to nothing of it is garbage
# A shell has what it starts with & ignore Ctrl-C, and ttt leaves an ignored signal ignored. Tests
# send it to runs, which have it by default again whoever started the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
PROJECT = Path(__file__).parent.parent
# Seconds after which a test calls a program hung. A busy machine is slow; pytest itself waits 300.
HUNG = 240.0
# Files by the time they take, without test_; the order of all others does not matter.
LONGEST = (
    *("slurm_runs", "faults", "slurm_testbed", "run", "closed_rules", "cuda_steps"),
    *("interrupt", "shell"),
    *("submission_implementation", "mpi", "saver", "resume", "dist_meeting", "claim", "keep"),
    *("run_mistakes", "compliance_vendors", "completion", "report_official", "sinks_wandb"),
)

Command = Callable[..., subprocess.CompletedProcess[str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: workers that share files then end at about the same time."""
    order = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def pytest_collection_finish() -> None:
    """Spare Python's garbage collector what was imported and collected: it lives to the end.

    Composing a configuration makes much garbage, and a fifth of its time went into looking for it
    among the objects of torch. What a test leaves is still found, some tests later.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_sessionfinish() -> None:
    """Leave no process behind: the server that ranks are forked from would linger a moment."""
    forkserver._forkserver._stop()


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The handwritten digits as an image folder, made once for all workers; only to be read."""
    from ttt.prepare.digits import prepare

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each has a folder of its own in that of the session
        folder = folder.parent
    with (folder / "digits.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        prepare(folder / "data" / "digits")  # nothing, if it is there
    return folder / "data" / "digits"


@pytest.fixture
def shared() -> Path:
    """The folder of real data sets and published results, where there is one."""
    folder = Path(os.environ.get("TTT_SHARED", PROJECT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (TTT_SHARED)")
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real SLURM of four nodes; with TTT_REQUIRE_SLURM set, not to have one is a failure."""
    if reason := missing():
        (pytest.fail if os.environ.get("TTT_REQUIRE_SLURM") else pytest.skip)(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


def command(*arguments: str) -> list[str]:
    """The ttt command, run by this interpreter."""
    return [sys.executable, "-m", "ttt", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """Ours, without what a launcher above us may have set, and a terminal its width."""
    left_out = ("TTT_", "TORCHINDUCTOR_", "COLUMNS", "LINES")  # torch sets one of its own
    ours = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    paths = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return ours | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | variables


@pytest.fixture
def ttt(tmp_path: Path) -> Command:
    """Run `ttt ARGUMENTS` in an empty folder and wait for it."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=HUNG,
            check=False,
        )

    return run


Refused = Callable[..., list[str]]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """What `ttt run ARGUMENTS` refuses, in this process and an empty folder; it starts nothing."""
    from ttt.cli import run
    from ttt.errors import ConfigError

    def problems(*arguments: str) -> list[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", sys.argv)
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        monkeypatch.setattr(run, "prepare", pytest.fail)
        monkeypatch.setattr(run, "freeze", pytest.fail)
        shown: list[str] = []
        monkeypatch.setattr(run, "show", lambda error: shown.extend(error.problems))
        try:
            assert run.main(list(arguments)) == 2
        except ConfigError as error:
            shown.extend(error.problems)
        assert list(tmp_path.glob("runs*")) == []
        return shown

    return problems
