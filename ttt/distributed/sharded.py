"""A model that processes hold in parts: fully sharded (FSDP2), cut by layers, or both.

The order is torchtitan's: layers are cut, activations checkpointed, units compiled, then sharded
unit by unit, the root last.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import loss_parallel
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

from ttt.distributed import tensor
from ttt.distributed.narrow import narrow
from ttt.distributed.tables import spread_in
from ttt.distributed.whole import Whole
from ttt.errors import ConfigError
from ttt.protocols import Breakdown, Plan, World
from ttt.schema.choices import Checkpointing
from ttt.schema.parallel import ParallelConfig

# It warns of two small all-reduces, one for each axis, where one would do.
logging.getLogger("torch.distributed.tensor._redistribute").setLevel(logging.ERROR)
# Of a model whose answer is a view: nothing here changes an answer in place.
warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")

_KEPT = ("aten.mm", "aten.addmm", "aten._scaled_dot_product", "_c10d_functional")


def device_mesh(world: World) -> DeviceMesh:
    """The processes as a box, with the axes of `Mesh`; ranks count along `tensor` first."""
    mesh = world.mesh
    sizes, names = (mesh.replicate, mesh.shard, mesh.tensor), ("replicate", "shard", "tensor")
    return init_device_mesh(world.device.type, sizes, mesh_dim_names=names)


def shard(
    model: nn.Module,
    plan: Plan,
    world: World,
    settings: ParallelConfig,
    *,
    compiled: bool,
    precision: str,
) -> None:
    """Cut a model and keep this process's part of it.

    Args:
        model: On its device, with the same weights on every process.
        plan: How it may be cut.
        world: The processes.
        settings: What to do beside.
        compiled: Whether units are compiled.
        precision: As in the configuration; in bf16 the weights of units travel so.

    Raises:
        ConfigError: There is a tensor axis, and the model has no plan for it.
    """
    mesh = device_mesh(world)
    if world.mesh.tensor > 1:
        if not plan.tensor:
            raise ConfigError(
                [
                    f"parallel.tensor={world.mesh.tensor} needs a plan of layers to cut, and"
                    f" {type(model).__name__} has none (`plan()`); parallel.tensor=1"
                ]
            )
        tensor.cut(model, plan.tensor, mesh["tensor"])
    units = [model.get_submodule(name) for name in plan.units]
    for unit in units:
        recompute(unit, settings.checkpointing)
        if compiled:
            unit.compile()
    if world.mesh.data_shards == 1:
        return
    several = ("replicate", "shard") if world.mesh.replicate > 1 else ("shard",)
    spread = [one for tables in spread_in(model).values() for one in tables.parameters()]
    apply: Callable[[nn.Module], Any] = partial(
        fully_shard,
        mesh=mesh[several],
        reshard_after_forward=settings.reshard,
        ignored_params=set(spread),
    )
    for unit in units:
        apply(unit)
        if precision == "bf16":
            narrow(unit)
    apply(model)


def recompute(unit: nn.Module, which: Checkpointing) -> None:
    """Let a unit compute activations again in the backward pass in place of keeping them."""
    if which is Checkpointing.none:
        return
    kept = {"context_fn": partial(create_selective_checkpoint_contexts, _policy)}
    settings: dict[str, Any] = kept if which is Checkpointing.selective else {}
    unit.forward = partial(checkpoint, unit.forward, use_reentrant=False, **settings)


def _policy(_: Any, operation: Any, *__: Any, **___: Any) -> CheckpointPolicy:
    """Keep what costs most to compute or to send: products, attention, exchanges."""
    name = str(operation)
    keeps = name.startswith(_KEPT)
    return CheckpointPolicy.MUST_SAVE if keeps else CheckpointPolicy.PREFER_RECOMPUTE


class Sharded(Whole):
    """A model of which a process has a part. Implements `ttt.protocols.Parallel`.

    Args:
        model: Cut and sharded.
        optimizer: Of this model.
        world: The processes that train it.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
        super().__init__(model, optimizer, world)
        self._world = world
        self.in_turns = world.mesh.data_shards > 1
        self._mine = [one for one in model.modules() if isinstance(one, FSDPModule)]
        split_groups(optimizer)

    @contextmanager
    def passing(self, *, last: bool) -> Iterator[None]:
        """Around a forward and backward pass; gradients are exchanged in an update's last."""
        for module in self._mine[:1]:  # the root, for all below it
            module.set_requires_gradient_sync(last)
        with loss_parallel() if self._world.mesh.tensor > 1 else nullcontext():
            yield

    def value(self, loss: Tensor) -> Tensor:
        """A loss as a plain number."""
        loss = loss.detach()
        return loss.full_tensor() if isinstance(loss, DTensor) else loss

    def clip(self, norm: float) -> None:
        """Scale all gradients down together; the norm is that over all processes' parts."""
        groups = _by_mesh(one for one in self.model.parameters() if one.grad is not None)
        gradients = [[one.grad for one in group if one.grad is not None] for group in groups]
        parts = [nn.utils.get_total_norm(group, foreach=True) for group in gradients]
        whole = [part.full_tensor() if isinstance(part, DTensor) else part for part in parts]
        total = torch.linalg.vector_norm(torch.stack(whole))
        for group in groups:
            nn.utils.clip_grads_with_norm_(group, norm, total, foreach=True)

    def in_step(self, batches: Any, spare: Any) -> Iterator[tuple[Any, bool]]:
        """All data shards make as many passes: one that has run out goes on with `spare`."""
        if not self.in_turns:
            yield from super().in_step(batches, spare)
            return
        own = iter(batches)
        while True:
            batch = next(own, None)
            if not any(self._replicas.sum([int(batch is not None)])):
                return
            yield (spare, False) if batch is None else (batch, True)

    @contextmanager
    def looking(self) -> Iterator[nn.Module]:
        """The model to be looked at; of one that decodes, all weights are gathered meanwhile.

        Decoding makes as many passes as a sentence has words, which is another number on every
        data shard.
        """
        decodes = hasattr(self.model, "advance")
        for module in self._mine if decodes else ():
            module.unshard()
        try:
            yield self.model
        finally:
            for module in self._mine if decodes else ():
                module.reshard()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` named, of whatever mesh it was saved on."""
        super().restore(self._of_this_mesh(state))

    def breakdown(self, accumulate: int) -> Breakdown:
        """Nothing is timed."""
        return Breakdown()


def split_groups(optimizer: torch.optim.Optimizer) -> None:
    """Let no group have parameters of two meshes, which no single kernel updates."""
    optimizer.param_groups = [
        {**group, "params": part}
        for group in optimizer.param_groups
        for part in _by_mesh(group["params"])
    ]


def _by_mesh(weights: Any) -> list[list[nn.Parameter]]:
    """Parameters of one mesh each, in their order."""
    found: dict[Any, list[nn.Parameter]] = {}
    for one in weights:
        found.setdefault(one.device_mesh if isinstance(one, DTensor) else None, []).append(one)
    return list(found.values())
