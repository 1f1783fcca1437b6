"""Starts BERT from a checkpoint of others, as MLPerf's closed division asks.

Two forms: TensorFlow's (`NAME.index` with `NAME.data-00000-of-00001`; give either, or NAME) as the
reference offers its checkpoint of step 28,252, and a conversion of it by PyTorch (`NAME.pt`,
tensors by name). The optimizer begins without moments.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ttt.errors import DataError, fault
from ttt.models import tensor_bundle
from ttt.models.bert_names import Source, sources

if TYPE_CHECKING:
    from ttt.models.bert import Bert

_WITHIN = ("model", "state_dict")  # what files of PyTorch's may keep the tensors in


@torch.no_grad()
def load(model: Bert, initial: str) -> None:
    """Replace a network's weights by those of a checkpoint; more tensors in it do no harm.

    Args:
        model: On the host.
        initial: The file.

    Raises:
        DataError: It is absent, damaged or of another network.
    """
    path = Path(initial)
    weights = model.state_dict()
    if weights and next(iter(weights.values())).is_meta:
        return  # only counted
    find = _torch(path) if path.suffix in (".pt", ".pth", ".bin") else _tensorflow(path)
    wrong = []
    for name, source in sources(len(model.layers)).items():
        there, shape = find(source), tuple(weights[name].shape)
        if there is None:
            wrong.append(f"{path} has no weights {source.tensorflow} or {source.torch}")
        elif tuple(there.shape) != shape:
            wrong.append(f"{path}: {source.torch} has the shape {tuple(there.shape)}, not {shape}")
        else:
            weights[name].copy_(there)
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(f"{wrong[0]}{more}: it is of another network; type model.initial=FILE")


def _torch(path: Path) -> Callable[[Source], Tensor | None]:
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        why = f"cannot be read: {reason}"
        raise DataError(fault("model.initial", path, why, typed="FILE")) from error
    for name in _WITHIN:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict):
        raise DataError(fault("model.initial", path, "holds no tensors by name", typed="FILE"))
    plain = {str(name).removeprefix("module."): value for name, value in content.items()}

    def find(source: Source) -> Tensor | None:
        found = plain.get(source.torch)
        return found if isinstance(found, Tensor) else None

    return find


def _tensorflow(path: Path) -> Callable[[Source], Tensor | None]:
    bundle = tensor_bundle.Bundle(path)

    def find(source: Source) -> Tensor | None:
        array = bundle.read(source.tensorflow)
        if array is None:
            return None
        if source.transposed:
            array = np.ascontiguousarray(array.T)
        return torch.from_numpy(array)

    return find
