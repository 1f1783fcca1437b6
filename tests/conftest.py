"""Shared ground of the tests: real digits, a runner for the real command, one core each."""

import contextlib
import fcntl
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

from ground import HUNG, PROJECT, Command, Refused, command, environment
from ranks import end_latest
from slurm_testbed import Cluster, missing
from warm import Warm, interpreter, server

torch.set_num_threads(1)
gc.set_threshold(200_000, 20, 20)  # while tests are collected, next to nothing of it is garbage
# A shell has what it starts with & ignore Ctrl-C, and ttt leaves an ignored signal ignored. Tests
# send it to runs, which have it by default again whoever started the tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Files by the time they take; the order of all others does not matter.
LONGEST = (
    "distributed/test_sharded",
    *("end_to_end/test_slurm_runs", "end_to_end/test_faults", "end_to_end/test_slurm_testbed"),
    *("end_to_end/test_run", "end_to_end/test_closed_rules", "end_to_end/test_cuda_steps"),
    *("end_to_end/test_interrupt", "end_to_end/test_shell", "submission/test_implementation"),
    *("launch/test_mpi", "supervise/test_saver", "supervise/test_resume"),
    *("plan/test_count", "distributed/test_pieces", "end_to_end/test_parallel_truth"),
    *("end_to_end/test_moved_runs", "end_to_end/test_parity_command"),
    *("distributed/test_rendezvous", "test_claim", "test_keep", "cli/test_run_mistakes"),
    *("compliance/test_vendors", "cli/test_completion", "report/test_official"),
    "sinks/test_wandb",
)


def pytest_configure(config: pytest.Config) -> None:
    """One server of warm programs for the session: xdist's workers have its address from here."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        stack = contextlib.ExitStack()
        stack.enter_context(server())
        config.add_cleanup(stack.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: workers that share files then end at about the same time."""
    order = {PROJECT / "tests" / f"{name}.py": place for place, name in enumerate(LONGEST)}
    assert all(file.is_file() for file in order)
    items.sort(key=lambda item: order.get(item.path, len(order)))


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
    end_latest()
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


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands in for the interpreter where srun or mpirun starts it; see `warm.interpreter`."""
    return interpreter(tmp_path_factory.mktemp("warm"))


def ran(start: type[subprocess.Popen[str]], folder: Path) -> Command:
    """Start `ttt ARGUMENTS` in a folder and wait for it."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with start(
            command(*arguments),
            cwd=folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                out, errors = process.communicate(timeout=HUNG)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)

    return run


@pytest.fixture
def ttt(tmp_path: Path) -> Command:
    """Run `ttt ARGUMENTS` in an empty folder and wait for it."""
    return ran(Warm, tmp_path)


@pytest.fixture
def cold_ttt(tmp_path: Path) -> Command:
    """The same by interpreters of its own, as it is typed: for what no forked process can show."""
    return ran(subprocess.Popen, tmp_path)


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
