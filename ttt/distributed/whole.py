"""A model that a process trains alone: what is common to all ways to train it together."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ttt.distributed.state import Undo, restore_training, training_state
from ttt.distributed.tables import spread_in
from ttt.protocols import Breakdown, State, World

# Where a model keeps the names that DistributedDataParallel neither compares nor averages.
_IGNORED = "_ddp_params_and_buffers_to_ignore"
_NOTHING = nullcontext()


class Whole:
    """A model of which a process has all, and trains alone. Implements `ttt.protocols.Parallel`.

    Args:
        model: Cut, compiled and on its device.
        optimizer: Of this model.
        world: The processes that train it.
    """

    module: nn.Module
    in_turns = False

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
        self.model = self.module = model
        self.optimizer = optimizer
        self._replicas = world.replicas
        tables = spread_in(model)
        self.tables = next((text for one in tables.values() if (text := one.placement)), None)
        local = [f"{name}.{inner}" for name, one in tables.items() for inner in one.local_names()]
        self._local = frozenset(local or getattr(model, _IGNORED, []))

    def passing(self, *, last: bool) -> AbstractContextManager[None]:
        """Around a forward and backward pass: there is nothing to exchange."""
        return _NOTHING

    def value(self, loss: Tensor) -> Tensor:
        """A loss as a plain number."""
        return loss.detach()

    def in_step(self, batches: Iterable[Any], spare: Any) -> Iterator[tuple[Any, bool]]:
        """Each batch; no process waits for another."""
        return ((batch, True) for batch in batches)

    def looking(self) -> AbstractContextManager[nn.Module]:
        """The model to be looked at."""
        return nullcontext(self.model)

    def clip(self, norm: float) -> None:
        """Scale all gradients down together, so that their norm is at most this."""
        nn.utils.clip_grad_norm_(self.model.parameters(), norm, foreach=True)

    def average_buffers(self) -> None:
        """Make statistics, which each process gathered from its own samples, the same on all."""
        kept = self.model.state_dict(keep_vars=True)  # others, as tables of angles, are computed
        buffers = self.model.named_buffers()
        self._replicas.average([buffer for name, buffer in buffers if name in kept])

    def look(self) -> None:
        """Nothing is timed."""

    def breakdown(self, accumulate: int) -> Breakdown:
        """Nothing is exchanged."""
        return Breakdown(communication_ms=0.0, exposed_ms=0.0)

    def state(self) -> State:
        """Parameters, buffers and the optimizer's state, as flat names; tensors are not copied."""
        return training_state(self.model, self.optimizer, self._local)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` named."""
        if any(isinstance(value, list) for value in state.values()):
            state = self._of_this_mesh(state)
        restore_training(self.model, self.optimizer, state)

    def _of_this_mesh(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """A state that was saved for any mesh, as this process has it."""
        from ttt.distributed import pieces  # noqa: PLC0415 - slow to import

        now = self.state()
        ours = {**now.alike, **now.own, **now.cut}
        fitted = {
            name: pieces.like(value, state[name])
            for name, value in {**now.alike, **now.cut}.items()
            if isinstance(value, Tensor) and isinstance(state.get(name), Tensor | list)
        }
        # A group of parameters has the same settings whoever updates it.
        groups = {name: value for name, value in ours.items() if ".param_groups." in name}
        wanted = {name: state[name] for name in state if name in ours or "." not in name}
        return {**groups, **wanted, **fitted}

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Forget the updates that are made within it, bit for bit; see `Undo`."""
        undo = Undo(self.model, self.optimizer, self._local)
        yield
        undo.put_back()
