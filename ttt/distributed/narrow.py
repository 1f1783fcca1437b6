"""Weights of a sharded model that travel in bf16, to be computed with in it, and are kept in fp32.

Autocast rounds the weights of matrix products to bf16 where they are used. Rounded before they are
sent they are the same numbers in half the bytes. What else a unit has, as the weights of its norms,
is rounded too, and used in fp32. Gradients are added up in fp32.

Why not FSDP2's MixedPrecisionPolicy(param_dtype=bf16): with it what flows from block to block is in
bf16 as well, which autocast leaves in fp32, and torch has no norm on a CPU for the two together. On
four processes the first gradients of a small Transformer then were 0.07 from those of one process
under autocast (largest difference, as a share), and with this module 0.004, as without it: see
docs/parallel.md.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ttt.distributed.axis import gather_into

_MARK = "gathered_in_bf16"


def narrow(unit: nn.Module) -> None:
    """Let the fp32 weights of a unit travel in bf16.

    Args:
        unit: Sharded. torch before 2.9 cannot be told how to gather: there all stays as it is.
    """
    if hasattr(unit, "set_custom_all_gather"):
        gather: Any = unit.set_custom_all_gather
        gather(_Bf16())
        setattr(unit, _MARK, True)


def narrowed(model: nn.Module) -> bool:
    """Whether weights of a model travel in bf16."""
    return any(getattr(one, _MARK, False) for one in model.modules())


class _Bf16:
    """A gathering of weights as FSDP2 wants it (torch.distributed.fsdp, `AllGather`)."""

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Room for the weights of a unit, of all processes."""
        return torch.empty(*size, dtype=dtype, device=device)

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: dist.ProcessGroup,
        async_op: bool = False,
    ) -> None:
        """Gather; on a GPU in the stream that FSDP2 has for it, in which nothing waits."""
        if input_tensor.dtype != torch.float32:  # several types travel as bytes
            gather_into(output_tensor, input_tensor, group=group)
            return
        every = torch.empty_like(output_tensor, dtype=torch.bfloat16)
        gather_into(every, input_tensor.bfloat16(), group=group)
        output_tensor.copy_(every)
