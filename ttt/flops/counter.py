"""Counts the tensor FLOPs of a training step where no closed form says them.

Its tensors have shapes and no values, which takes no memory and little time. They are on the meta
device or, where a model asks its device for what this does not know, are fake tensors of a CPU.
Attention and LSTMs are made of plain products there, which torch counts. (Of a CPU's own kernels it
counts 0, of a GPU's attention also what the backward pass computes again.) What needs values, as
`.item()` does, fails.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

_BACKWARD = 2  # the gradient of either factor of a product costs as much as the product


class _Counter(FlopCounterMode):
    """Without what checkpointing computes again: no product in a backward pass builds a graph."""

    def _count_flops(self, func: Any, out: Any, args: Any, kwargs: Any) -> Any:
        if recomputed():
            return out
        return super()._count_flops(func, out, args, kwargs)  # type: ignore[no-untyped-call]


class _Causal(TorchFunctionMode):
    """Adds up the attention that `is_causal` leaves out, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen = 0.0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            self._see(result, *args, **(kwargs or {}))
        return result

    def _see(
        self,
        result: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **_: Any,
    ) -> None:
        if not is_causal:
            return
        width = key.shape[-1] + value.shape[-1]
        unseen = query.shape[:-1].numel() * key.shape[-2] * width  # half of the two products
        if not recomputed():
            self.unseen += unseen
        if result.requires_grad:

            def went_back(_: Tensor) -> None:
                self.unseen += _BACKWARD * unseen

            result.register_hook(went_back)


def recomputed() -> bool:
    """Whether a forward pass goes on inside a backward pass."""
    return torch.is_grad_enabled() and torch._C._current_graph_task_id() != -1


def count(
    make: Callable[[], nn.Module],
    loss: Callable[[nn.Module, Sequence[Tensor]], Tensor],
    batch: Sequence[Tensor],
    *,
    attended: float,
) -> float:
    """Model tensor FLOPs of training one sample, forward and backward.

    Args:
        make: Makes the model; called where no tensor has values.
        loss: The task's own.
        batch: The tensors of a training batch, of which only shapes and data types are read.
        attended: Share of causal attention that counts, 0.5 or 1. Attention is known to be causal
            by `is_causal`; with a mask it counts in full.

    Raises:
        Exception: The model or the loss raised it, where tensors have no values.
    """
    try:
        with torch.device("meta"):
            return _counted(make, loss, [each.to("meta") for each in batch], attended)
    except Exception:
        with FakeTensorMode():
            alike = [torch.empty(each.shape, dtype=each.dtype) for each in batch]
            return _counted(make, loss, alike, attended)


def _counted(
    make: Callable[[], nn.Module],
    loss: Callable[[nn.Module, Sequence[Tensor]], Tensor],
    example: Sequence[Tensor],
    attended: float,
) -> float:
    plain = sdpa_kernel(SDPBackend.MATH), torch.backends.mkldnn.flags(allow_tf32=None)
    with torch.random.fork_rng([]), plain[0], plain[1]:
        model = make().train()
        with _Causal() as causal, _Counter(display=False) as counter:
            loss(model, example).backward()
    total: float = counter.get_total_flops() - 2 * (1 - attended) * causal.unseen
    return total / len(example[0])
