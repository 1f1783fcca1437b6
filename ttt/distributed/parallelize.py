"""How a model is spread over the world. The only place that knows DistributedDataParallel."""

import inspect
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ttt.protocols import World

# torch 2.13 deprecated the first name and older ones do not know the second.
_NEW_NAME = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
_BUFFERS_ALONE: dict[str, Any] = {
    "forward_sync_buffers" if _NEW_NAME else "broadcast_buffers": False
}


def parallelize(model: nn.Module, world: World) -> nn.Module:
    """The model with its gradients averaged over the world's shards.

    Buffers are left alone during training: broadcasting BatchNorm statistics before every forward
    pass costs a collective a step. `Learner.eval_mode` averages them when they are needed.
    """
    if world.size == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[world.device.index] if world.device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **_BUFFERS_ALONE,
    )


def leave_local(model: nn.Module, names: Sequence[str]) -> None:
    """Have `parallelize` neither compare nor average the parameters and buffers of these names."""
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, list(names))


def local_names(model: nn.Module) -> set[str]:
    """Names of the parameters and buffers that `leave_local` was given, in the model inside."""
    return set(getattr(plain(model), "_ddp_params_and_buffers_to_ignore", ()))


def plain(model: nn.Module) -> nn.Module:
    """The model inside, for looking at it without any communication."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def accumulating(model: nn.Module) -> AbstractContextManager[None]:
    """Within it, gradients add up locally and are not yet averaged."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
