"""A checkpoint of any mesh is one of every other."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from parity import Setting, made
from ranks import on_mesh
from ttt.distributed import checkpoint, pieces
from ttt.distributed.checkpoint import Progress
from ttt.parity.compare import loss_of_next
from ttt.schema.parallel import Mesh, ParallelConfig

MESHES = {
    "one": Mesh(),
    "ddp": Mesh(replicate=2),
    "zero1": Mesh(replicate=3),
    "fsdp": Mesh(shard=4),
    "tp": Mesh(tensor=2),
    "hsdp": Mesh(replicate=2, shard=2),
    "tp_fsdp": Mesh(shard=2, tensor=2),
}
WAYS = [("fsdp", "tp"), ("tp", "fsdp"), ("one", "tp_fsdp"), ("tp_fsdp", "one"), ("hsdp", "ddp")]
WAYS += [("ddp", "hsdp"), ("tp_fsdp", "tp_fsdp"), ("zero1", "fsdp"), ("zero1", "one")]
WAYS += [("ddp", "zero1"), ("tp", "zero1"), ("zero1", "zero1")]
STEP = 3


def saved(world, folder, settings):
    """Train, save, and go on for two updates; their losses."""
    learner, mine = made(world, Setting("llama", settings=settings))
    with learner._parallel.trial():
        learner.step(mine)
    for _ in range(STEP):
        learner.step(mine)
    content = checkpoint.part(learner.state(), world, copy=True)
    place = Progress(STEP, world.size, 1.0, {})
    checkpoint.write(content, place, folder, world.rank, total=0)
    world.barrier()
    return [loss_of_next(world, learner, mine) for _ in range(2)]


def restored(world, folder, settings):
    """Go on from there, in a learner that has other weights."""
    learner, mine = made(world, Setting("llama", settings=settings))
    learner.step(mine)
    alike, own = checkpoint.read(folder, STEP, world)
    learner.restore(alike | own)
    return [loss_of_next(world, learner, mine) for _ in range(2)]


def on(name, function, folder):
    settings = ParallelConfig(zero1=name == "zero1")
    return on_mesh(MESHES[name], function, folder, settings)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, list]]:
    """A mesh's checkpoint and the losses of its processes after it, made when first asked for."""

    @cache
    def made_once(name: str) -> tuple[Path, list]:
        folder = tmp_path_factory.mktemp(name)
        return folder, on(name, saved, folder)

    return made_once


# Neighbours go on alike, so that the same processes can.
@pytest.mark.parametrize(("before", "after"), sorted(WAYS, key=lambda way: way[::-1]))
def test_the_next_losses_are_those_of_the_run_that_was_saved(once, before: str, after: str):
    folder, uncut = once(before)
    resumed = on(after, restored, folder)
    exact = 0 if before == after else 5e-6
    for losses in (*uncut, *resumed):
        assert losses == pytest.approx(uncut[0], abs=exact)


def sizes(world, folder):
    """Bytes of what each process saved of the cut state."""
    learner, _ = made(world, Setting("llama"))
    content = checkpoint.part(learner.state(), world, copy=True)
    return checkpoint.size_of(content["cut"])


def test_each_value_is_saved_once(tmp_path: Path):
    [whole] = on_mesh(MESHES["one"], alone_size)
    for name in ("fsdp", "hsdp", "tp_fsdp"):
        parts = on_mesh(MESHES[name], sizes, tmp_path)
        assert sum(parts) == whole
        assert max(parts) < 0.51 * whole  # of four, two save where the others have copies


def alone_size(world):
    learner, _ = made(world, Setting("llama"))
    state = learner.state()
    tensors = [value for value in state.alike.values() if isinstance(value, torch.Tensor)]
    return sum(value.nbytes for value in tensors if value.ndim)


def test_pieces_that_leave_a_gap_are_refused():
    half = {"offset": (0,), "tensor": torch.ones(2)}
    with pytest.raises(ValueError, match="2 of 4 values of a tensor are saved"):
        pieces.like(torch.zeros(4), [half])
    with pytest.raises(ValueError, match="a tensor of 1 dims is saved, not of 2"):
        pieces.like(torch.zeros(2, 2), [half])
    rest = {"offset": (2,), "tensor": torch.full((2,), 2.0)}
    assert pieces.like(torch.zeros(4), [half, rest]).tolist() == [1, 1, 2, 2]
