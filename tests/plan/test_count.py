"""What is counted of processes that are not there is what real ones send and hold."""

from typing import Any

import pytest

from parity import Setting, made
from ranks import on_mesh
from ttt.distributed.imagined import Imagined, alike, imagined, without_values
from ttt.distributed.witness import Message, Witness, held
from ttt.protocols import World
from ttt.schema.choices import Checkpointing
from ttt.schema.parallel import Mesh, ParallelConfig

STEPS = 3  # DDP orders its buckets after the first
PEAK = 0.15  # of live bytes; a real batch lives, and collectives keep buffers a moment longer
LLAMA, TRANSLATION = Setting("llama"), Setting("transformer")
SETTINGS = {
    "ddp": (
        Mesh(replicate=4),
        [LLAMA, TRANSLATION, Setting("dlrm"), Setting("llama", accumulate=2)],
    ),
    "zero1": (Mesh(replicate=4), [Setting("llama", settings=ParallelConfig(zero1=True))]),
    "fsdp": (
        Mesh(shard=4),
        [
            LLAMA,
            Setting("llama", "bf16", settings=ParallelConfig(reshard=False)),
            Setting("llama", settings=ParallelConfig(checkpointing=Checkpointing.full)),
        ],
    ),
    "hsdp": (Mesh(replicate=2, shard=2), [LLAMA]),
    "tp": (Mesh(tensor=4), [LLAMA, TRANSLATION]),
    "tp_fsdp": (Mesh(shard=2, tensor=2), [LLAMA]),
}


def counted(world: World, asked: Setting) -> tuple[dict[Message, int], int, int, int]:
    """Collectives of the last step, its peak, and bytes of parameters and optimizer."""
    with Witness() as witness:
        learner, batch = made(world, asked)
        if isinstance(world, Imagined):
            batch = alike(batch)
        for _ in range(STEPS):
            witness.clear()
            learner.step(batch)
    state = held(list(learner._parallel.optimizer.state.values()))
    return dict(witness.messages), witness.peak, held(list(learner.model.parameters())), state


def all_counted(world: World, settings: list[Setting]) -> list[Any]:
    return [counted(world, asked) for asked in settings]


@pytest.mark.parametrize(("mesh", "settings"), SETTINGS.values(), ids=SETTINGS)
def test_counts_are_those_of_four_processes(mesh: Mesh, settings: list[Setting]):
    with imagined(mesh, 4) as world:
        planned = []
        for asked in settings:
            with without_values():
                planned.append(counted(world, asked))
    real = on_mesh(mesh, all_counted, settings)[0]
    for asked, mine, right in zip(settings, planned, real, strict=True):
        assert mine[0] == right[0], asked
        assert mine[0]
        assert mine[1] == pytest.approx(right[1], rel=PEAK), asked
        assert mine[2:] == right[2:], asked
