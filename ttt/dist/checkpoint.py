"""Saving a run in the middle, by torch.distributed.checkpoint: every process writes its part.

The folder must be one that all processes see. A checkpoint is whole or not there: it is written
beside and moved into place by rank 0. That part of torch takes half a second to import, which only
a run that is suspended or resumed has to pay.
"""

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ttt.errors import LaunchError
from ttt.protocols import World


def training_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Parameters, buffers and the optimizer's state, named alike however the model is spread."""
    from torch.distributed.checkpoint import state_dict  # noqa: PLC0415

    # Flat, so that processes with parameters of their own do not overwrite each other's groups.
    options = state_dict.StateDictOptions(flatten_optimizer_state_dict=True)
    weights, moments = state_dict.get_state_dict(model, optimizer, options=options)
    return {"model": weights, "optimizer": moments}


def restore_training(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Put a state from `training_state` back, after `load` has filled it."""
    from torch.distributed.checkpoint import state_dict  # noqa: PLC0415

    state_dict.set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=state_dict.StateDictOptions(flatten_optimizer_state_dict=True),
    )


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


def save(state: dict[str, Any], folder: Path, world: World) -> int:
    """Write a checkpoint in place of the one before.

    Args:
        state: Nested dicts; tensors that every process has alike are written once.
        folder: Where it will be.
        world: All of its processes call this together.

    Returns:
        Its size, in bytes.

    Raises:
        LaunchError: The processes do not see the same folder.
    """
    from torch.distributed.checkpoint.state_dict_saver import save as save_parts  # noqa: PLC0415

    draft = folder.with_name(folder.name + ".draft")
    if world.rank == 0:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
    world.barrier()
    _demand(draft, world)
    with _meant_alone():
        save_parts(state, checkpoint_id=draft, no_dist=not dist.is_initialized())
    size = 0
    if world.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(draft, folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
    return world.agree(size)


def load(state: dict[str, Any], folder: Path, world: World) -> None:
    """Fill a state of the form that was saved, tensors in place.

    Raises:
        LaunchError: A process does not see the folder.
    """
    from torch.distributed.checkpoint.state_dict_loader import load as load_parts  # noqa: PLC0415

    _demand(folder, world)
    with _meant_alone():
        load_parts(state, checkpoint_id=folder, no_dist=not dist.is_initialized())


@contextmanager
def _meant_alone() -> Iterator[None]:
    """Within it, torch does not wonder aloud whether a single process was meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _demand(folder: Path, world: World) -> None:
    blind = [rank for rank, sees in enumerate(world.gather(folder.is_dir())) if not sees]
    if blind:
        raise LaunchError(
            f"ranks {blind} do not see {folder}; checkpoints need a run_root on a file system that"
            " all nodes share; run_root=DIR"
        )
