"""What depends on values, for tensors that have none: results as large as they can be.

Indexing by a mask selects everything, and a number that the host reads is 1, or a half. Not so
gradients of embedding tables that hold rows only: torch gives them none.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, unset_fake_temporarily
from torch.utils._pytree import tree_leaves

_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_RESULTS: dict[str, Callable[..., Any]] = {
    "_local_scalar_dense": lambda tensor: 0.5 if tensor.is_floating_point() else 1,
    "nonzero": lambda tensor: tensor.new_empty((tensor.numel(), tensor.dim()), dtype=torch.int64),
    "is_coalesced": lambda gradient: False,
    "_coalesce": lambda gradient: gradient,
    "sparse_mask": lambda dense, mask, *_: mask.clone(),
    "_fused_sgd_": lambda *_: None,  # it has no form without values, and gives nothing
}


def called(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What an operation of torch's dispatcher gives, if need be at its largest."""
    name = func._schema.name.partition("::")[2]
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    stays = torch.device(kwargs.get("device") or "cpu").type == "cpu"
    if given and stays and not any(isinstance(each, FakeTensor) for each in given):
        with unset_fake_temporarily():  # these have values, as the coordinates of a mesh
            return func(*args, **kwargs)
    if name in _RESULTS:
        return _RESULTS[name](*args)
    if name in _INDEXING and any(map(is_mask, args[1])):
        args = (args[0], _all(args[1]), *args[2:])
    return func(*args, **kwargs)


def is_mask(place: Tensor | None) -> bool:
    """Whether an index selects by true and false."""
    return place is not None and place.dtype in (torch.bool, torch.uint8)


def _all(places: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The same index with every mask as numbers, as many as if all of it were true."""
    found: list[Tensor | None] = []
    for place in places:
        if place is not None and is_mask(place):
            found += [place.new_empty(place.numel(), dtype=torch.int64)] * place.dim()
        else:
            found.append(place)
    return found
