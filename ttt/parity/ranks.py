"""Gloo processes on this machine that try each mode, one after the other."""

import json
import multiprocessing
import os
import socket
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ttt import config
from ttt.distributed import key
from ttt.distributed.rank import Placement
from ttt.distributed.world import Group, Solo, join
from ttt.errors import ConfigError, LaunchError
from ttt.parity.compare import Apart, Found, compared
from ttt.parity.trial import PROCESSES, trial, tried
from ttt.schema.choices import Checkpointing
from ttt.schema.parallel import ParallelConfig


class No(NamedTuple):
    """Why a mode gives no answer.

    Attributes:
        sentence: Why.
        failed: Whether it should have: the model raised an error of its own.
    """

    sentence: str
    failed: bool


Answer = Apart | No
_PARTS, _REFERENCE = "parts.pt", "alone_{}.pt"


_DRAWS = (
    "the model draws random numbers in a way that could not be switched off: two trials on one"
    " process differ; dropout that is nn.Dropout, or a setting below model. called dropout, is"
    " switched off; model.dropout=0"
)


def references(
    frozen: str, folder: Path, parts: list[tuple[torch.Tensor, ...]], shards: set[int]
) -> tuple[Apart, list[str]]:
    """Let one process do what so many data shards would, for the others to compare with.

    Returns:
        How far it is from itself if it adds up the parts in another order, and what was switched
        off in the model.

    Raises:
        ConfigError: It is not the same twice.
    """
    torch.set_num_threads(1)  # as each of the others; more would spin on a busy machine
    world, run = Solo(torch.device("cpu")), config.load(frozen)
    alone = tried(run, ParallelConfig())
    torch.save(parts, folder / _PARTS)
    found, off = trial(alone, world, parts, alone=PROCESSES)
    again, _ = trial(alone, world, parts, alone=PROCESSES, seed=2)
    if compared(again, found) != Apart(0, 0, 0, 0):
        raise ConfigError([_DRAWS])
    turned, _ = trial(alone, world, parts[::-1], alone=PROCESSES)
    _keep(found, folder, PROCESSES)
    for count in sorted(shards - {PROCESSES}):
        _keep(trial(alone, world, parts, alone=count)[0], folder, count)
    return compared(turned, found), off


def _keep(found: Found, folder: Path, shards: int) -> None:
    torch.save(asdict(found), folder / _REFERENCE.format(shards))


def every_mode(
    frozen: str, folder: Path, modes: Mapping[str, ParallelConfig], allowed: float
) -> dict[str, Answer]:
    """The worst answer of all processes, by the name of the mode.

    Args:
        frozen: Text of the configuration.
        folder: With what `references` left.
        modes: By names.
        allowed: Of the first gradients.

    Raises:
        LaunchError: A process ended without an answer.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = multiprocessing.get_context("forkserver")  # torch is imported once, not four times
    server.set_forkserver_preload([__name__, "torch._dynamo", "ttt.distributed.sharded"])
    plain = {name: asdict(mode) for name, mode in modes.items()}
    given = (port, key.variables(), frozen, folder, plain, allowed)
    processes = [server.Process(target=_rank, args=(rank, *given)) for rank in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    answers = []
    for rank, process in enumerate(processes):
        file = folder / f"answer_{rank}.json"
        if process.exitcode or not file.is_file():
            raise LaunchError(f"rank {rank} ended with {process.exitcode} and left no answer")
        answers.append(json.loads(file.read_text()))
    return {name: _worst([one[name] for one in answers]) for name in modes}


def _worst(answers: list[list[Any]]) -> Answer:
    """Of all processes; none is worse than any number."""
    if none := [No(*one) for one in answers if len(one) == len(No._fields)]:
        return max(none, key=lambda one: one.failed)
    rows = [Apart(*one) for one in answers]
    return max(rows, key=lambda row: (bool(row.name), row[:4]))


def _rank(
    rank: int,
    port: int,
    secret: Mapping[str, str],
    frozen: str,
    folder: Path,
    plain: Mapping[str, Mapping[str, Any]],
    allowed: float,
) -> None:
    """One of the processes, from its start to its answers in a file."""
    torch.set_num_threads(1)
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **secret})
    placement = Placement(rank, PROCESSES, rank, PROCESSES)
    text = frozen if rank == 0 else None
    with join(placement, text, lambda _, __: torch.device("cpu")) as (world, said):
        assert isinstance(world, Group)
        answers = {name: _answer(world, said, folder, one, allowed) for name, one in plain.items()}
        (folder / f"answer_{rank}.json").write_text(json.dumps(answers))
        world.barrier()


def _answer(
    world: Group, frozen: str, folder: Path, mode: Mapping[str, Any], allowed: float
) -> Answer:
    """How far one mode is; all processes agree to go on after a fault that all have."""
    values = {**mode, "checkpointing": Checkpointing(mode["checkpointing"])}
    run = tried(config.load(frozen), ParallelConfig(**values))
    here = world.arranged(run.parallel.mesh(world.size))
    parts = torch.load(folder / _PARTS)
    expected = torch.load(folder / _REFERENCE.format(here.data.count))
    try:
        found, _ = trial(run, here, parts)
        return compared(found, Found(**expected), allowed)
    except ConfigError as error:
        return No(str(error), failed=False)
    except Exception as error:  # of a user's class
        return No(f"{type(error).__name__}: {error}\n{traceback.format_exc()}", failed=True)
