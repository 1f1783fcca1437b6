"""Real gloo processes for tests: the same function on every rank of a small world."""

import contextlib
import multiprocessing
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from ttt.distributed.rank import Placement
from ttt.distributed.world import join
from ttt.schema.parallel import Mesh

# A server that has imported once what takes seconds; every rank is forked from it in milliseconds.
# The last ones are what test files import, as each rank does to find its function there, and what
# torch imports with the first optimizer.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("torch", "ttt.worker", "nvidia.dali.fn", "ttt.optim.sgd", "ttt.data.dali"),
        *("pytest", "hypothesis.strategies", "sacrebleu.metrics", "safetensors.torch"),
        *("sentencepiece", "sklearn.metrics", "torch._dynamo", "ttt.distributed.sharded", "parity"),
    ]
)


class Ranks:
    """Processes that have met and call what they are given, one function after the other.

    Args:
        size: How many.
        mesh: How they share a model; copies of it if not given.
    """

    def __init__(self, size: int, mesh: Mesh | None = None) -> None:
        self.mesh = mesh
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._pipes, self._processes = [], []
        for rank in range(size):
            mine, theirs = _CONTEXT.Pipe()
            process = _CONTEXT.Process(
                target=_rank, args=(theirs, rank, size, port, mesh), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(process)

    def call(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Results of `function(world, *arguments)`, in rank order."""
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):  # its answer says why it has ended
                pipe.send((function, arguments))
        answers = [pickle.loads(pipe.recv_bytes()) for pipe in self._pipes]
        failures = [answer for ok, answer in answers if not ok]
        if failures:
            raise AssertionError("\n".join(failures))
        return [answer for _, answer in answers]

    def end(self) -> None:
        """Let them end; those that have failed did so by themselves."""
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):
                pipe.send(None)
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.join()
            pipe.close()


def on_ranks(
    size: int, function: Callable[..., Any], *arguments: Any, mesh: Mesh | None = None
) -> list[Any]:
    """Call `function(world, *arguments)` on `size` processes; the results in rank order."""
    ranks = Ranks(size, mesh)
    try:
        return ranks.call(function, *arguments)
    finally:
        ranks.end()


_latest: list[Ranks] = []


def on_mesh(mesh: Mesh, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The same, on processes that stay for the next call on this mesh.

    For functions that leave nothing behind in their process: no changed module, no open group.
    """
    if not _latest or _latest[0].mesh != mesh:
        end_latest()
        _latest.append(Ranks(mesh.processes, mesh))
    try:
        return _latest[0].call(function, *arguments)
    except BaseException:
        end_latest()
        raise


def end_latest() -> None:
    """Let the processes of `on_mesh` end."""
    while _latest:
        _latest.pop().end()


def _rank(pipe: Connection, rank: int, size: int, port: int, mesh: Mesh | None) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    placement = Placement(rank, size, rank, size)
    try:
        text = "the frozen text" if rank == 0 else None
        device = torch.device("cpu")
        joining = join(
            placement,
            text,
            lambda text, local_rank: device,
            arrange=lambda text, size: mesh or Mesh.of(size),
        )
        with joining as (world, said):
            assert said == "the frozen text"
            while asked := pipe.recv():
                function, arguments = asked
                answer = function(world, *arguments)
                world.barrier()
                # By value: torch would else pass tensors as handles that die with this process.
                pipe.send_bytes(pickle.dumps((True, answer)))
    except BaseException:
        pipe.send_bytes(pickle.dumps((False, f"rank {rank}: {traceback.format_exc()}")))


def in_a_process(
    function: Callable[..., int], *arguments: Any, cwd: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` would give of a program that is `sys.exit(function(*arguments))`.

    It begins with torch imported, so OMP_NUM_THREADS says nothing to it: it computes on one core.

    Args:
        function: What to call.
        arguments: Its arguments.
        cwd: Where it runs.
        environment: All its variables; those in PYTHONPATH are where it finds modules.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("out", "errors")]
        process = _CONTEXT.Process(
            target=_program,
            args=(list(map(str, files)), str(cwd), dict(environment), function, arguments),
        )
        process.start()
        process.join(240)
        assert process.exitcode is not None, "it does not end"
        out, errors = (file.read_text() for file in files)
    return subprocess.CompletedProcess([], process.exitcode, out, errors)


def _program(
    files: list[str],
    cwd: str,
    environment: dict[str, str],
    function: Callable[..., int],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    for number, file in enumerate(files, 1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.exit(function(*arguments))
