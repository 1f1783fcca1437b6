"""Applies a model's plan to the world: tables are spread, gradients averaged.

The only place that knows DistributedDataParallel. What comes out is a `ttt.protocols.Parallel`,
which a learner uses without knowing how many processes there are.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ttt.distributed.gradients import GradientTimes
from ttt.distributed.whole import Whole
from ttt.distributed.zero import Zero1
from ttt.errors import ConfigError
from ttt.protocols import Breakdown, Parallel, Plan, State, World
from ttt.schema.parallel import ParallelConfig

# torch 2.13 deprecated the first name and older ones do not know the second.
_NEW_NAME = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
_BUFFERS_ALONE: dict[str, Any] = {
    "forward_sync_buffers" if _NEW_NAME else "broadcast_buffers": False
}


def parallelize(
    model: nn.Module,
    world: World,
    *,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer],
    settings: ParallelConfig | None = None,
    compile: bool = False,
    precision: str = "fp32",
    layout: torch.memory_format = torch.contiguous_format,
) -> Parallel:
    """Cut a model as its plan says, move it to its device, and make it ready to be trained.

    Args:
        model: On the host, or on the meta device where its plan replaces it.
        world: The processes that train it, each with a model of the same first weights.
        optimizer: Makes the optimizer from the model, before gradients are averaged.
        settings: What to do beside the mesh, which is the world's.
        compile: Compile the model's forward (and with it the backward).
        precision: As in the configuration: what weights in parts may travel in.
        layout: Memory format of convolutions' weights; those in parts have torch's own.

    Raises:
        ConfigError: The model does not fit, or its plan is of another.
    """
    plan = plan_of(model)
    if found := unplannable(model, plan):
        raise ConfigError(found)
    for name, swap in plan.swap.items():
        model.set_submodule(name, swap(model.get_submodule(name), world))
    if world.mesh.shard > 1:
        layout = torch.contiguous_format  # FSDP2 takes no weights of another
    # torch has no type for the second argument.
    model = model.to(world.device, memory_format=layout)  # type: ignore[call-overload]
    if world.mesh.shard > 1 or world.mesh.tensor > 1:
        from ttt.distributed.sharded import Sharded, shard  # noqa: PLC0415 - slow to import

        beside = settings or ParallelConfig()
        shard(model, plan, world, beside, compiled=compile, precision=precision)
        return Sharded(model, optimizer(model), world)
    if compile:
        model.compile()
    made, zero1 = optimizer(model), settings is not None and settings.zero1
    alone = world.replicas.size == 1
    parallel: Whole = (
        Whole(model, made, world) if alone else Replicated(model, made, world, zero1=zero1)
    )
    return parallel


def plan_of(model: nn.Module) -> Plan:
    """How the model may be cut; a user's own need not say, and is then not cut."""
    says = getattr(type(model), "plan", None)  # of the class: a layer may have this name as well
    try:
        inspect.signature(says).bind(model)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no method, or one of the user's that needs more
        return Plan()
    plan = says(model)  # type: ignore[misc]
    return plan if isinstance(plan, Plan) else Plan()


def unplannable(model: nn.Module, plan: Plan) -> list[str]:
    """A sentence for each name in a plan that is none of the model's own modules."""
    there = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    kind, found = f"{type(model).__module__}.{type(model).__qualname__}", []
    for field in ("units", "tensor", "swap"):
        names, wanted = getattr(plan, field), Sequence if field == "units" else Mapping
        if isinstance(names, str) or not isinstance(names, wanted):
            what = "a list of names" if field == "units" else "a mapping by names"
            found.append(f"{kind}.plan() gives {field}={names!r:.80}; allowed: {what}")
            continue
        for name in names:
            if name not in there:
                near = difflib.get_close_matches(str(name), there, n=3, cutoff=0.5) or there[:3]
                found.append(
                    f"{kind}.plan() names {name!r:.80} in {field}, and the model has no such"
                    f" module; close to it: {', '.join(near) or 'none'}; allowed: what"
                    " named_modules() gives"
                )
    return found


class Replicated(Whole):
    """A model that each process has, but for spread tables; gradients are averaged over all.

    Buffers are left alone during training: broadcasting BatchNorm statistics before every forward
    pass costs a collective a step. `average_buffers` does it when they are needed.
    """

    module: DistributedDataParallel

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, world: World, *, zero1: bool
    ) -> None:
        super().__init__(model, optimizer, world)
        self._zero1 = Zero1(optimizer, world) if zero1 else None
        if self._local:
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
                model, list(self._local)
            )
        self.module = DistributedDataParallel(
            model,
            device_ids=[world.device.index] if world.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            **_BUFFERS_ALONE,
        )
        self._times = GradientTimes(self.module)

    def passing(self, *, last: bool) -> AbstractContextManager[None]:
        """Around a forward and backward pass; gradients are averaged in an update's last."""
        return nullcontext() if last else self.module.no_sync()

    def look(self) -> None:
        """Keep what the reducer timed since the last look; never waits."""
        self._times.look()

    def breakdown(self, accumulate: int) -> Breakdown:
        """Where updates spent their time; see `GradientTimes`."""
        return self._times.breakdown(accumulate)

    def state(self) -> State:
        """Weights, buffers and the optimizer's state, which may be of some weights alone."""
        state = super().state()
        if self._zero1 is None:
            return state
        ours = {name: value for name, value in state.alike.items() if name.startswith("optimizer.")}
        tensors = {name: value for name, value in ours.items() if isinstance(value, Tensor)}
        rest = {name: value for name, value in ours.items() if name not in tensors}
        alike = {name: value for name, value in state.alike.items() if name not in ours}
        return State(alike, {**state.own, **rest}, tensors)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Forget the updates that are made within it, and how long they took."""
        with super().trial():
            yield
        self._times = GradientTimes(self.module)
