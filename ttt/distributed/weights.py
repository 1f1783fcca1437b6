"""Gives the weights of a model as a single process would have them, also if they are spread.

They come in parts of bounded size, for process 0 to write down: a table that is spread over
processes may be larger than the memory of any of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ttt.distributed.tables import spread_in
from ttt.protocols import World

_PART = 2**24  # values copied to the host at once


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter or buffer.

    Attributes:
        name: Its place in the state dict of the model of a single process.
        dtype: Of its values.
        shape: Its shape in that model.
        parts: Its values in order, on the host; nothing, or empty parts, on processes other than 0.
            All processes have to go through it together.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    parts: Callable[[], Iterator[Tensor]]


def whole(model: nn.Module, world: World) -> list[Weight]:
    """All weights of a model, in the order of its state dict, then the tables that are spread."""
    spread = spread_in(model)
    inside = tuple(f"{name}." for name in spread)
    found = [
        Weight(name, value.dtype, tuple(value.shape), partial(_parts, value, world))
        for name, value in model.state_dict().items()
        if not name.startswith(inside)
    ]
    found += [
        Weight(f"{name}.weight", tables.dtype, tables.shape, tables.in_order)
        for name, tables in spread.items()
    ]
    return found


def _parts(value: Tensor, world: World) -> Iterator[Tensor]:
    """A tensor that every process has alike, or a part of; it is gathered, one at a time."""
    if hasattr(value, "full_tensor"):
        value = value.full_tensor()
    if world.rank == 0:
        for part in value.detach().flatten().split(_PART):
            yield part.cpu()
