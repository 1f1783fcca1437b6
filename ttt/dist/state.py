"""What decides the next updates of a run: the training state and the random numbers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ttt.dist.parallel import local_names, plain
from ttt.protocols import State, World


def load_torchs_part() -> None:
    """Import what takes half a second, before a clock runs."""
    import torch.distributed.checkpoint.state_dict  # noqa: F401, PLC0415


def training_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Parameters, buffers and the optimizer's state, as flat names; tensors are not copied.

    Buffers are each process's own: statistics are of the samples that it saw.
    """
    from torch.distributed.checkpoint import state_dict  # noqa: PLC0415 - takes half a second

    options = state_dict.StateDictOptions(flatten_optimizer_state_dict=True)
    weights, flat = state_dict.get_state_dict(model, optimizer, options=options)
    moments: dict[str, Any] = dict(flat)
    named = plain(model).named_parameters(remove_duplicate=False)
    shared = {name for name, _ in named} - local_names(model)
    alike: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, value in weights.items():
        (alike if name in shared else own)[f"model.{name}"] = value
    for name, moment in moments.items():  # state.layer.bias.exp_avg, param_groups.layer.bias.lr
        of = name.partition(".")[2].rpartition(".")[0]
        (alike if of in shared else own)[f"optimizer.{name}"] = moment
    return State(alike, own)


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
