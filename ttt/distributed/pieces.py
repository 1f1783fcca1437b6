"""Tensors that several processes hold in pieces: saved piece by piece, put together for any mesh.

Why not the planners of torch.distributed.checkpoint: see `ttt.distributed.checkpoint`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

Region = tuple[tuple[int, ...], tuple[int, ...]]  # sizes, and where it begins in the whole tensor
Saved = dict[str, Any]  # "offset" of a piece, and its "tensor"


def region(value: Tensor) -> Region:
    """What this process has of a tensor."""
    if not isinstance(value, DTensor):
        return tuple(value.shape), (0,) * value.ndim
    return compute_local_shape_and_global_offset(value.shape, value.device_mesh, value.placements)


def to_save(cut: Mapping[str, Tensor]) -> dict[str, Saved]:
    """The pieces that this process has to save; of equal copies one process saves one.

    Args:
        cut: Tensors that several have in pieces, or that this process alone has.
    """
    return {
        name: {"offset": region(value)[1], "tensor": local(value)}
        for name, value in cut.items()
        if not isinstance(value, DTensor) or _first_copy(value)
    }


def local(value: Tensor) -> Tensor:
    """This process's part as a plain tensor."""
    return value.to_local() if isinstance(value, DTensor) else value


def _first_copy(value: DTensor) -> bool:
    """Whether this process has the first copy of its piece."""
    place = value.device_mesh.get_coordinate()
    assert place is not None
    pairs = zip(place, value.placements, strict=True)
    return all(index == 0 for index, placement in pairs if isinstance(placement, Replicate))


def _whole(value: Tensor) -> Saved:
    return {"offset": (0,) * value.ndim, "tensor": value}


def like(wanted: Tensor, saved: Tensor | Sequence[Saved]) -> Tensor:
    """What is saved as a tensor of the same form as `wanted`: whole, or this process's part.

    Args:
        wanted: A tensor of the model or its optimizer as it is now.
        saved: The whole, or pieces of it in any order.

    Raises:
        ValueError: They are not of that shape, or do not cover it.
    """
    pieces = [_whole(saved)] if isinstance(saved, Tensor) else saved
    sizes, begin = region(wanted)
    part = torch.empty(sizes, dtype=wanted.dtype)
    filled = 0
    for piece in pieces:
        theirs: Tensor = piece["tensor"]
        if theirs.ndim != len(sizes):
            raise ValueError(f"a tensor of {theirs.ndim} dims is saved, not of {len(sizes)}")
        here, there = [], []
        edges = zip(begin, sizes, piece["offset"], theirs.shape, strict=True)
        for first, size, their_first, their_size in edges:
            low, high = max(first, their_first), min(first + size, their_first + their_size)
            here.append(slice(low - first, max(low, high) - first))
            there.append(slice(low - their_first, max(low, high) - their_first))
        part[tuple(here)].copy_(theirs[tuple(there)])
        filled += part[tuple(here)].numel()
    if filled != part.numel():
        raise ValueError(f"{filled} of {part.numel()} values of a tensor are saved")
    if not isinstance(wanted, DTensor):
        return part
    return DTensor.from_local(
        part.to(wanted.device),
        wanted.device_mesh,
        wanted.placements,
        run_check=False,
        shape=wanted.shape,
        stride=wanted.stride(),
    )
