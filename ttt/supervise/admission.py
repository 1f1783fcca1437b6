"""Lets a process into its run: the folder is trusted, it has one owner, rank 0 sends what to do.

Only rank 0 needs the run folder. A process elsewhere may have none and gets all from rank 0; one
that has it refuses it where others could have written there. If one process refuses, all end.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ttt import config, trusted
from ttt.distributed import device
from ttt.distributed import world as dist_world
from ttt.distributed.rank import JOIN_VARIABLE
from ttt.distributed.rendezvous import JOIN_SECONDS
from ttt.errors import ConfigError, LaunchError
from ttt.loop import ResumePoint
from ttt.protocols import World
from ttt.run_folder import RunFolder
from ttt.schema.parallel import Mesh
from ttt.schema.run import RunConfig
from ttt.supervise import demands, moving, owner, resume
from ttt.supervise.guard import Guard


class Admitted(NamedTuple):
    """What a process has once it is let in: the others, the run, where it lies and stands."""

    world: World
    config: RunConfig
    folder: Path
    past: ResumePoint | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """What rank 0 sends to every process.

    Attributes:
        refused: Why rank 0 refuses the run folder; then there is nothing to do.
        folder: The run folder, where rank 0 sees it.
        config: The text of its configuration.
        past: Where the run stands; None if its clock has never started.
    """

    refused: Sequence[str] = ()
    folder: str = ""
    config: str = ""
    past: ResumePoint | None = None

    def to_json(self) -> str:
        """The text that travels."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Assignment":
        """What a text of `to_json` says."""
        values = json.loads(text)
        past = ResumePoint(**values["past"]) if values["past"] else None
        return cls(**values | {"past": past})


@contextlib.contextmanager
def join(guard: Guard, words: Sequence[str] = ()) -> Iterator[Admitted]:
    """Meet the other processes of the run; leave them at the end.

    Args:
        guard: Of this process.
        words: What was typed behind the run folder; rank 0's count.

    Raises:
        ConfigError: A process refuses the run folder or has no device, or the run claims to be an
            official benchmark that it is not.
        LaunchError: Not all processes came or too many did, another process runs the run, or the
            run is over.
    """
    frozen, refused, moved = _read(guard, words)
    seconds = float(os.environ.get(JOIN_VARIABLE, JOIN_SECONDS))
    if frozen is not None:
        seconds = _loaded(frozen).timeout.join_seconds
    text = _assign(guard, frozen, refused, moved).to_json() if guard.rank == 0 else None
    choose = partial(_choose, guard, refused)
    joining = dist_world.join(
        guard.placement, text, choose, seconds=seconds, show=guard.show, arrange=_arrange
    )
    with joining as (world, text):
        assignment = Assignment.from_json(text)
        run_config = _loaded(assignment.config)
        folder = guard.admit(Path(assignment.folder))
        demands.world_size(run_config, world, begun=assignment.past is not None)
        demands.claim_kept(run_config, world)
        yield Admitted(world, run_config, folder, assignment.past)


@lru_cache(maxsize=1)
def _loaded(frozen: str) -> RunConfig:
    """The configuration that a text is: four parts of joining ask for it, and it takes a while."""
    return config.load(frozen)


class _Read(NamedTuple):
    """What a process finds in its own run folder.

    Attributes:
        frozen: The configuration to run with; None where the process has none.
        refused: Why it refuses the folder, or what was typed behind it.
        moved: What is other than before; see `ttt.supervise.moving`.
    """

    frozen: str | None = None
    refused: Sequence[str] = ()
    moved: Mapping[str, Any] | None = None


def _read(guard: Guard, words: Sequence[str]) -> _Read:
    """What this process's own run folder has; of rank 0 with what was typed behind it."""
    file = RunFolder(guard.folder).config if guard.folder else None
    whole = guard.rank == 0  # the others look at what every process touches
    if file is None or not (whole or file.is_file()):
        return _Read()
    if found := trusted.problems(file.parent, whole=whole):
        guard.refuse()
        return _Read(refused=found)
    try:
        frozen = trusted.read(file).decode()
        if not whole:
            return _Read(frozen)
        frozen, moved = moving.moved(frozen, resume.recall(file.parent), words)
        return _Read(frozen, moved=moved)
    except ConfigError as error:
        guard.refuse()
        return _Read(refused=error.problems)


def _assign(
    guard: Guard, frozen: str | None, refused: Sequence[str], moved: Mapping[str, Any] | None
) -> Assignment:
    """What rank 0, which always has the folder, sends to all.

    Raises:
        ConfigError: Others could have written the record.
        LaunchError: Another process runs the run, or the run is over.
    """
    if refused:
        return Assignment(refused)
    assert guard.folder is not None
    assert frozen is not None
    folder = guard.folder
    try:
        owner.take(folder)
    except LaunchError:
        guard.refuse()
        raise
    past = resume.past(folder)
    past = replace(past, moved=moved) if past and moved else past
    return Assignment((), str(folder.absolute()), frozen, past)


def _arrange(text: str, size: int) -> Mesh:
    """How the processes share the model."""
    assignment = Assignment.from_json(text)
    if assignment.refused:
        return Mesh.of(size)
    return _loaded(assignment.config).parallel.mesh(size)


def _choose(guard: Guard, refused: Sequence[str], text: str, local_rank: int) -> torch.device:
    """The device of this process, unless it or rank 0 refuses the run folder.

    Raises:
        ConfigError: This process refuses the folder, or there is no device for it.
    """
    assignment = Assignment.from_json(text)
    if assignment.refused:
        guard.refuse()
        if guard.rank:
            return torch.device("cpu")  # all end with rank 0's sentence
    if refused:
        raise ConfigError(refused)
    return device.choose(_loaded(assignment.config).device, local_rank)
