"""A checkpoint of any mesh is one of every other."""

from pathlib import Path

import pytest
import torch

from parity import Setting, made
from ranks import on_ranks
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


@pytest.mark.parametrize(("before", "after"), WAYS)
def test_the_next_losses_are_those_of_the_run_that_was_saved(
    tmp_path: Path, before: str, after: str
):
    uncut, resumed = (
        on_ranks(
            MESHES[name].processes,
            function,
            tmp_path,
            ParallelConfig(zero1=name == "zero1"),
            mesh=MESHES[name],
        )
        for name, function in ((before, saved), (after, restored))
    )
    exact = 0 if before == after else 5e-6
    for losses in (*uncut, *resumed):
        assert losses == pytest.approx(uncut[0], abs=exact)


def sizes(world, folder):
    """Bytes of what each process saved of the cut state."""
    learner, _ = made(world, Setting("llama"))
    content = checkpoint.part(learner.state(), world, copy=True)
    return checkpoint.size_of(content["cut"])


def test_each_value_is_saved_once(tmp_path: Path):
    [whole] = on_ranks(1, alone_size, mesh=MESHES["one"])
    for name in ("fsdp", "hsdp", "tp_fsdp"):
        parts = on_ranks(4, sizes, tmp_path, mesh=MESHES[name])
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
