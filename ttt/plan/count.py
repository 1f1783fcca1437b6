"""Counts a step of a run on processes that are not there: its own code, on tensors without values.

The first step is not counted: it makes the optimizer's state. In the second one DDP agrees on an
order of its buckets.
"""

import gc
from collections import Counter
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ttt import config
from ttt.build import learner_of, make_parallel
from ttt.distributed.imagined import Imagined, alike, imagined, without_values
from ttt.distributed.parallelize import Replicated
from ttt.distributed.witness import Message, Witness, held
from ttt.errors import one_line
from ttt.learner import StandardLearner
from ttt.models.embedding_bags import EmbeddingBags
from ttt.plan.figures import Figures, Traffic, axis
from ttt.protocols import Batch, Data, Parallel, Task
from ttt.schema.run import RunConfig

_STEPS = 2
_ROWS = "gradients of the rows of tables that a batch looks up are not counted"


def count(run: RunConfig, processes: int, local_size: int, *, fused: bool) -> tuple[Figures, Any]:
    """What the first of so many processes holds and sends.

    Args:
        run: Without problems, on so many processes.
        processes: Of the run.
        local_size: Of a node.
        fused: Whether the optimizer updates all weights by one kernel, as it does on a GPU.

    Returns:
        The figures, and the parts by which FLOPs are known.
    """
    with imagined(run.parallel.mesh(processes), local_size) as world:
        data = config.instantiate(
            "data", run.data, without=("loader", "prepare"), world=world, channels_last=False
        )
        task = config.instantiate("task", run.task)
        batches = data.synthetic(world.data).train
        largest = max(batches, key=lambda batch: sum(part.numel() for part in batch))
        # Rows of tables get their values on the host, one by one.
        rows = mock.patch.object(EmbeddingBags, "_fill")
        with without_values(), rows, Witness() as witness:
            parallel = make_parallel(run, world)
            if fused:
                _fuse(parallel.optimizer)
            learner = learner_of(run, parallel, task, data, world)
            figures = _counted(learner, parallel, witness, alike(largest), world)
    example = [part.to("meta") for part in largest]
    return figures, _Made(data, task, example)


class _Made:
    """What `utilization.flop_per_sample` looks at."""

    def __init__(self, data: Data, task: Task, example: Batch) -> None:
        self.data, self.task, self.example = data, task, example


def _fuse(optimizer: torch.optim.Optimizer) -> None:
    """Update as on a GPU, by a kernel that needs no memory of its own, where torch has one."""
    for group in optimizer.param_groups:
        if "fused" in group:
            group.update(fused=True, foreach=False)


def _counted(
    learner: StandardLearner, parallel: Parallel, witness: Witness, batch: Batch, world: Imagined
) -> Figures:
    making = witness.peak
    weights = list(parallel.model.parameters())
    parameters, gradients = held(weights), held([one for one in weights if one.requires_grad])
    sparse: list[Tensor] = []

    def see(*_: Any) -> None:
        sparse[:] = [one for one in weights if one.grad is not None and one.grad.is_sparse]

    parallel.optimizer.register_step_pre_hook(see)
    try:
        for _ in range(_STEPS + isinstance(parallel, Replicated)):
            gc.collect()
            witness.clear()
            learner.step(batch)
    except Exception as error:  # torch has many for what depends on values
        why = one_line(f"{type(error).__name__}: {error}")
        return Figures(parameters, gradients, None, None, making, None, f"{why:.200}")
    remark = _ROWS if sparse else None
    gradients -= held(sparse)
    state, sent = held(list(parallel.optimizer.state.values())), _traffic(witness.messages, world)
    return Figures(parameters, gradients, state, witness.peak, making, sent, remark=remark)


def _traffic(messages: Counter[Message], world: Imagined) -> list[Traffic]:
    """Collectives of one kind together, the largest first."""
    counts, sizes = Counter[tuple[str, str, bool, str]](), Counter[tuple[str, str, bool, str]]()
    largest: dict[tuple[str, str, bool, str], int] = {}
    for one, count in messages.items():
        nodes = {rank // world.local_size for rank in one.ranks}
        kind = one.kind, axis(world.mesh, one.ranks), len(nodes) > 1, one.dtype
        counts[kind] += count
        sizes[kind] += count * one.size
        largest[kind] = max(one.size, largest.get(kind, 0))
    ordered = sizes.most_common()
    return [Traffic(*kind, counts[kind], size, largest[kind]) for kind, size in ordered]
