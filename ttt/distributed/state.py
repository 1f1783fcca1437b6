"""What decides the next updates of a run: the training state and the random numbers."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ttt.errors import ConfigError
from ttt.protocols import State, World

_ROWS_AT_ONCE = 16_384  # of a table, where its bits are added up as 64-bit numbers


def load_torchs_part() -> None:
    """Import what takes half a second, before a clock runs."""
    import torch.distributed.checkpoint.state_dict  # noqa: F401, PLC0415


def training_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, local: Collection[str]
) -> State:
    """Parameters, buffers and the optimizer's state, as flat names; tensors are not copied.

    Buffers are each process's own: statistics are of the samples that it saw.

    Args:
        model: Without DistributedDataParallel around it.
        optimizer: Of this model.
        local: Names of parameters and buffers that no other process has.
    """
    from torch.distributed.checkpoint import state_dict  # noqa: PLC0415 - takes half a second

    options = state_dict.StateDictOptions(flatten_optimizer_state_dict=True)
    weights, flat = state_dict.get_state_dict(model, optimizer, options=options)
    moments: dict[str, Any] = dict(flat)
    named = model.named_parameters(remove_duplicate=False)
    shared = {name for name, _ in named} - set(local)
    alike: dict[str, Any] = {}
    own: dict[str, Any] = {}
    cut: dict[str, Any] = {}

    def sort(of: str, name: str, value: Any) -> None:
        kind = alike if of in shared else own
        (cut if hasattr(value, "device_mesh") else kind)[name] = value

    for name, value in weights.items():
        sort(name, f"model.{name}", value)
    for name, moment in moments.items():  # state.layer.bias.exp_avg, param_groups.layer.bias.lr
        sort(name.partition(".")[2].rpartition(".")[0], f"optimizer.{name}", moment)
    return State(alike, own, cut)


def restore_training(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> None:
    """Put what `training_state` named back into a model and its optimizer."""
    from torch.distributed.checkpoint import state_dict  # noqa: PLC0415

    state_dict.set_state_dict(
        model,
        optimizer,
        model_state_dict=_below("model.", state),
        optim_state_dict=_below("optimizer.", state),
        options=state_dict.StateDictOptions(flatten_optimizer_state_dict=True),
    )


def _below(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


class Undo:
    """Puts a model and its optimizer back to where they were before some updates, bit for bit.

    All is copied beforehand, but of sharded tables (`local`), which may fill most of a GPU,
    only the rows that an update is about to change: those in the gradient. Rows of a table are the
    rows of its weight and of what the optimizer has kept of the weight since it was built. State
    that the updates begin, as Adam's moments, is dropped.

    Args:
        model: Without DistributedDataParallel around it.
        optimizer: Of this model.
        local: Names of parameters and buffers that no other process has.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, local: Collection[str]
    ) -> None:
        self._model, self._optimizer = model, optimizer
        named = {name: weight for name, weight in model.named_parameters() if name in local}
        # A weight, and the tensors that have its rows: the detached weight comes first.
        self._tables = {
            weight: [weight.detach(), *_row_by_row(optimizer.state.get(weight, {}), len(weight))]
            for weight in named.values()
        }
        tensors = [tensor for table in self._tables.values() for tensor in table]
        self._weights = {
            name: copy.deepcopy(value)
            for name, value in model.state_dict().items()
            if name not in named
        }
        # What deepcopy finds in its second argument it takes as it is.
        as_it_is = {id(tensor): tensor for tensor in tensors}
        self._state = copy.deepcopy(optimizer.state_dict(), as_it_is)
        self._before = [(tensor, _sum_of_bits(tensor)) for tensor in tensors]
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []  # a tensor, places, what was there
        self._hook = optimizer.register_step_pre_hook(self._keep_rows)

    def put_back(self) -> None:
        """Undo all updates since this object was made.

        Raises:
            ConfigError: The optimizer has changed a row of a table that was not in the gradient.
        """
        self._hook.remove()
        for tensor, places, values in reversed(self._rows):
            tensor.index_copy_(0, places, values)
        self._rows.clear()
        self._model.load_state_dict(self._weights, strict=False)
        self._optimizer.load_state_dict(self._state)
        if not all(torch.equal(_sum_of_bits(tensor), bits) for tensor, bits in self._before):
            raise ConfigError(
                [
                    f"{type(self._optimizer).__name__} changes rows of sharded tables that are not"
                    " in the gradient; allowed: an optimizer that changes only those, as"
                    " optim=adagrad; model.sharding=off"
                ]
            )

    def _keep_rows(self, *_: Any) -> None:
        """Before a step: copy what it will change of the tables."""
        for weight, tensors in self._tables.items():
            if (gradient := weight.grad) is None:
                continue
            if gradient.is_sparse:
                places = gradient._indices()[0].unique()
            else:
                places = torch.arange(len(weight), device=weight.device)
            for tensor in tensors:
                self._rows.append((tensor, places, tensor.index_select(0, places)))


def _row_by_row(state: Mapping[str, Any], rows: int) -> list[Tensor]:
    """The tensors in the state of a weight that have as many rows as it."""
    tensors = [value for value in state.values() if isinstance(value, Tensor)]
    return [tensor for tensor in tensors if tensor.ndim and len(tensor) == rows]


def _sum_of_bits(tensor: Tensor) -> Tensor:
    """The sum of all bytes; a part at a time, because torch makes 64-bit numbers of them first."""
    parts = tensor.split(_ROWS_AT_ONCE)
    return torch.stack([part.contiguous().view(torch.uint8).sum() for part in parts]).sum()


def random_state(world: World) -> dict[str, torch.Tensor]:
    """The state of this process's random number generators."""
    state = {"cpu": torch.get_rng_state()}
    if world.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(world.device)
    return state


def restore_random(state: dict[str, torch.Tensor], world: World) -> None:
    """Put a state from `random_state` back."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], world.device)
