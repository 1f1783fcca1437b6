"""Checkpoints of a run: every process writes a file, and none waits for another.

All processes must see the folder. A checkpoint is a folder `step_N` with a file of every rank and
one file that says where the run was. A process writes a file under another name and moves it into
place, so the file is whole or absent. The checkpoint counts when all files are there. The processes
divide the state that is the same on all: each writes a part, and later reads all parts.

Why not torch.distributed.checkpoint's `async_save`: its processes agree on what each writes by
collectives, in a thread of each, and these wait for a process that is gone.
"""

import errno
import json
import math
import os
import shlex
import shutil
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ttt import trusted
from ttt.errors import ConfigError, LaunchError
from ttt.protocols import State, World

_PROGRESS = "progress.json"
_DRAFT = ".draft"
_SPARE_BYTES = 1 << 26  # left on a disk for the record of the run, which has to be written


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run was when its state was copied.

    Attributes:
        step: Updates done.
        ranks: Processes, each with a file.
        time: When, in seconds since the epoch.
        totals: Seconds in each span of the clock.
        tensor: How many of the processes, neighbours, computed each layer on the same samples.
    """

    step: int
    ranks: int
    time: float
    totals: Mapping[str, float]
    tensor: int = 1

    @property
    def data_shards(self) -> int:
        """Parts that a batch was divided into."""
        return self.ranks // self.tensor


def part(state: State, world: World, *, copy: bool) -> dict[str, Any]:
    """The content of this process's file: its own state, its pieces, its part of the common.

    All parts have about the same number of bytes. Every process computes the same division.

    Args:
        state: Of this process.
        world: All processes.
        copy: Whether training goes on meanwhile, so that tensors are copied to the host.
    """
    loads = [0] * world.size
    mine = {}
    for name in sorted(state.alike, key=lambda name: (-size_of(state.alike[name]), name)):
        least = loads.index(min(loads))
        loads[least] += size_of(state.alike[name]) + 1
        if least == world.rank:
            mine[name] = state.alike[name]
    content = {"alike": mine, "own": dict(state.own), "cut": _pieces(state)}
    return _mapped(content, lambda tensor: tensor.to("cpu", copy=True)) if copy else content


def _pieces(state: State) -> dict[str, Any]:
    """What this process saves of tensors that several have in pieces."""
    if not state.cut:
        return {}
    from ttt.distributed import pieces  # noqa: PLC0415 - slow to import

    return pieces.to_save(state.cut)


def size_of(content: Any) -> int:
    """Bytes of the tensors in nested dicts."""
    if isinstance(content, torch.Tensor):
        return content.nbytes
    return sum(map(size_of, content.values())) if isinstance(content, dict) else 0


def _mapped(content: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Nested dicts with every tensor changed."""
    if isinstance(content, torch.Tensor):
        return change(content.detach())
    if isinstance(content, dict):
        return {name: _mapped(value, change) for name, value in content.items()}
    return content


def write(
    content: dict[str, Any], progress: Progress, folder: Path, rank: int, *, total: int
) -> None:
    """Write the file of one process; first rank 0 removes all older checkpoints except the newest.

    Args:
        content: As `part` gives it.
        progress: Where the run is.
        folder: Of all checkpoints of this run.
        rank: This process.
        total: Bytes that all processes are about to write.

    Raises:
        OSError: There is no room, or it cannot be written.
        RuntimeError: The same, in torch's words.
    """
    here = folder / f"step_{progress.step}"
    if rank == 0:
        newest = find(folder)
        sweep(folder, keep=[progress.step, *([newest.step] if newest else [])])
    here.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(here).free < total + _SPARE_BYTES:
        wanted = f"{total / 1e6:,.1f} MB, and {_SPARE_BYTES / 1e6:,.0f} MB to spare"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for {wanted}", str(folder))
    if rank == 0:
        text = json.dumps(asdict(progress))
        _put(here / _PROGRESS, lambda draft: draft.write_text(text))
    _put(_file(here, rank), lambda draft: torch.save(content, draft))


def reason(error: Exception) -> str:
    """Why a checkpoint could not be written, in a line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _put(path: Path, write: Callable[[Path], object]) -> None:
    """Make a file that is whole or not there, also after the power failed."""
    draft = path.with_name(path.name + _DRAFT)
    try:
        write(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _file(step: Path, rank: int) -> Path:
    return step / f"rank_{rank}.pt"


def find(folder: Path, *, before: float = math.inf) -> Progress | None:
    """The newest complete checkpoint; None if there is none.

    Args:
        folder: Of all checkpoints of a run.
        before: Only those of earlier steps.
    """
    whole = []
    for path in folder.glob(f"step_*/{_PROGRESS}"):
        progress = _progress(path)
        if progress is None or progress.step >= before:
            continue
        if all(_file(path.parent, rank).is_file() for rank in range(progress.ranks)):
            whole.append(progress)
    return max(whole, key=lambda progress: progress.step, default=None)


def _progress(path: Path) -> Progress | None:
    """What a file says of its checkpoint; None if that cannot be."""
    try:
        progress = Progress(**json.loads(trusted.read(path)))
        finite = all(map(math.isfinite, [progress.time, *progress.totals.values()]))
    except (OSError, ValueError, TypeError, AttributeError, OverflowError):
        return None
    counts = (progress.step, progress.ranks, progress.tensor)
    sensible = all(type(count) is int and count > 0 for count in counts)
    here = path.parent.name == f"step_{progress.step}"
    return progress if finite and sensible and here else None


def where(folder: Path, step: int) -> Progress | None:
    """What a checkpoint says of itself; None if it does not say."""
    return _progress(folder / f"step_{step}" / _PROGRESS)


def unclear(folder: Path) -> list[Path]:
    """Damaged files that should say where a run was: `find` skips their checkpoints."""
    return [path for path in sorted(folder.glob(f"step_*/{_PROGRESS}")) if not _progress(path)]


def damaged(folder: Path, step: int, world: World) -> list[Path]:
    """Files of a checkpoint that have changed since they were written; processes divide the work.

    Raises:
        LaunchError: A process does not see the folder.
    """
    here = folder / f"step_{step}"
    demand_shared(here, world)
    said = where(folder, step)
    ranks = said.ranks if said else world.size
    mine = [_file(here, rank) for rank in range(world.rank, ranks, world.size)]
    found = world.gather([file for file in mine if not _sound(file)])
    return [file for files in found for file in files]


def _sound(file: Path) -> bool:
    """Whether a file agrees with its checksums, which torch writes but does not compare."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (FileNotFoundError, PermissionError):  # no damage: `read` says what it is
        return True
    except Exception:  # of any kind: all of the file's structure may be damaged
        return False


def sweep(folder: Path, *, keep: Sequence[int]) -> None:
    """Remove all checkpoints but those of these steps."""
    kept = {f"step_{step}" for step in keep}
    for path in folder.glob("step_*"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)


def read(
    folder: Path, step: int, world: World, statistics: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state that was common to all processes, and this process's own, on the host.

    What was saved in pieces is a list of them; see `ttt.distributed.pieces.like`.

    Args:
        folder: Of all checkpoints of a run.
        step: Which of them.
        world: The processes that go on, which may be others than those that saved.
        statistics: Names of what each process gathered from its own samples.

    Raises:
        LaunchError: A process does not see the folder, or a file cannot be read.
    """
    here = folder / f"step_{step}"
    demand_shared(here, world)
    alike: dict[str, Any] = {}
    every: list[dict[str, Any]] = []
    try:
        said = where(folder, step) or Progress(step, world.size, 0.0, {}, world.mesh.tensor)
    except ConfigError as error:
        raise LaunchError(str(error)) from error
    for rank in range(said.ranks):
        path = _file(here, rank)
        try:
            # Mapped: a process needs all of its own file alone. Copied: the file will be removed.
            with trusted.opened(path) as file:
                name = f"/dev/fd/{file.fileno()}"  # the judged file, even if its path has changed
                content = torch.load(name, map_location="cpu", mmap=True, weights_only=True)
            alike |= _mapped(content["alike"], torch.Tensor.clone)
            for name, piece in content.get("cut", {}).items():
                alike.setdefault(name, []).append(_mapped(piece, torch.Tensor.clone))
            every.append(content["own"])
        except ConfigError as error:
            raise LaunchError(str(error)) from error
        except Exception as error:  # torch's and pickle's own, of any kind, for a damaged file
            why = f"cannot be read: {reason(error)}" if _sound(path) else "is damaged"
            raise LaunchError(f"the checkpoint {path} {why}; {without(folder, step)}") from error
    return alike, _mapped(_own(every, said, world, statistics), torch.Tensor.clone)


def _own(
    every: Sequence[dict[str, Any]], said: Progress, world: World, statistics: Collection[str]
) -> dict[str, Any]:
    """What this process goes on with, of what each of those before had for its own.

    Where a batch is divided among another number of shards, statistics of samples are the mean
    over the shards before, by which the model was judged.
    """
    shards = every[:: said.tensor]
    same = len(shards) == world.mesh.data_shards
    if same and len(every) != world.size:
        return shards[world.data.index]
    mine = every[world.rank % len(every)]
    if same:
        return mine
    return mine | {
        name: torch.stack([one[name].double() for one in shards]).mean(0).to(value.dtype)
        for name, value in mine.items()
        if name in statistics and value.is_floating_point()
    }


def without(folder: Path, step: int) -> str:
    """What to type to go on without a checkpoint."""
    here = shlex.quote(str(folder / f"step_{step}"))
    return f"to go on from the one before it, or from the beginning: rm -r {here}"


def demand_shared(folder: Path, world: World) -> None:
    """Refuse to go on where a process does not see a folder.

    Raises:
        LaunchError: Some do not.
    """
    blind = [rank for rank, sees in enumerate(world.gather(folder.is_dir())) if not sees]
    if blind:
        raise LaunchError(
            f"ranks {blind} do not see {folder}; checkpoints need a run_root on a file system that"
            " all nodes share; run_root=DIR"
        )
