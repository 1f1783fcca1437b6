"""The same updates of a user's own model on any mesh, from made-up batches of its data set.

Every process has the same batch and takes the part of its data shard. One process alone makes the
same parts and adds up their gradients, so that also a loss with weights of its own, which counts on
being averaged over shards, has its equal.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from ttt import config
from ttt.build import asked_for
from ttt.distributed.parallelize import parallelize
from ttt.errors import ConfigError, fault
from ttt.learner import StandardLearner
from ttt.parity.compare import Found, mean, trained
from ttt.protocols import Data, Shard, World
from ttt.schema.parallel import ParallelConfig
from ttt.schema.run import RunConfig

PROCESSES = 4
UPDATES = 20
_KEPT = (0, 4)  # updates whose gradients are compared
_STATISTICS = nn.modules.batchnorm._BatchNorm

Part = tuple[Tensor, ...]


def parts(run: RunConfig, world: World) -> list[Part]:
    """The parts of a made-up batch that `PROCESSES` data shards have.

    Raises:
        ConfigError: A made-up batch has fewer samples than there are parts.
    """
    torch.manual_seed(1)
    data: Data = config.instantiate(
        "data",
        run.data,
        without=("loader", "prepare"),
        world=world,
        channels_last=run.channels_last,
    )
    batch = next(iter(data.synthetic(Shard()).train))
    data.close()
    rows, pieces = min(len(one) for one in batch), PROCESSES * run.accumulate
    if rows < pieces:
        why = f"makes batches of {rows} samples, and {pieces} parts are needed"
        typed = str(run.data.global_batch * -(-pieces // max(1, rows)))
        raise ConfigError([fault("data.global_batch", run.data.global_batch, why, typed=typed)])
    even = [one[: rows // pieces * pieces] for one in batch]
    return list(zip(*(one.chunk(PROCESSES) for one in even), strict=True))


def joined(some: list[Part]) -> Part:
    """Parts as one batch."""
    return tuple(torch.cat(column) for column in zip(*some, strict=True))


def trial(
    run: RunConfig, world: World, every: list[Part], *, alone: int = 0, seed: int = 1
) -> tuple[Found, list[str]]:
    """Make the updates on one process of a world.

    Args:
        run: With `parallel` as it is to be tried.
        world: The processes.
        every: All parts of the batch.
        alone: For a process that does what so many data shards would.
        seed: Of what is drawn while it trains.

    Returns:
        What came of it, and what was switched off in the model.

    Raises:
        ConfigError: The model cannot be cut so.
    """
    shards = alone or world.data.count
    length = len(every) // shards
    mine = joined(every if alone else every[world.data.index * length :][:length])
    torch.manual_seed(run.seed or 1)
    model = config.instantiate("model", run.model)
    off = [*switched_off(model)]
    task = config.instantiate("task", run.task)
    asked_for(task.metric(), run)
    parallel = parallelize(
        model,
        world,
        optimizer=lambda model: config.instantiate("optim", run.optim, model, without=("name",)),
        settings=run.parallel,
        compile=run.compile,
        layout=torch.channels_last if run.channels_last else torch.contiguous_format,
    )
    steps = run.data.train_samples / run.data.global_batch
    learner = StandardLearner(
        parallel,
        task,
        world,
        schedule=config.instantiate(
            "schedule", run.schedule, base_lr=run.optim.lr, steps_per_epoch=steps
        ),
        precision=run.precision,
        accumulate=run.accumulate * max(1, alone),
        clip_norm=run.clip_norm,
    )
    torch.manual_seed(seed)
    gradients, losses = trained(learner, parallel.optimizer, world, mine, UPDATES, _KEPT)
    pieces = max(1, alone)
    with learner.eval_mode() as looked:
        split = zip(*(one.chunk(pieces) for one in mine), strict=True)
        judged = [float(task.loss(looked, part)) for part in split]
    return Found(gradients, losses, torch.tensor([mean(world, sum(judged) / pieces)])), off


def switched_off(model: nn.Module) -> Iterator[str]:
    """Switch off what is not the same on any number of processes; what it was, in words."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p:
            module.p = 0.0
            yield f"dropout {name}"
        if isinstance(module, _STATISTICS) and module.momentum != 0:
            module.momentum = 0.0
            yield f"running statistics {name}"


def without_dropout(run: RunConfig) -> tuple[RunConfig, list[str]]:
    """The run with settings of the model that are called dropout at 0, and their names."""
    found = [
        name
        for name, value in vars(run.model).items()
        if name.endswith("dropout") and isinstance(value, float) and value
    ]
    for name in found:
        setattr(run.model, name, 0.0)
    return run, [f"model.{name}" for name in found]


def modes() -> dict[str, ParallelConfig]:
    """Every way to share a model among `PROCESSES`."""
    half = PROCESSES // 2
    sizes = {
        "ddp": (PROCESSES, 1, 1),
        "fsdp": (1, PROCESSES, 1),
        "hsdp": (half, PROCESSES // half, 1),
        "tp": (1, 1, PROCESSES),
        "tp_fsdp": (1, half, PROCESSES // half),
        "tp with copies": (half, 1, PROCESSES // half),
    }
    return {name: ParallelConfig(*each) for name, each in sizes.items()}


def tried(run: RunConfig, mode: ParallelConfig) -> RunConfig:
    """The run in a mode."""
    return replace(run, parallel=mode)
