"""An LSTM layer that computes in the precision of the run on every device.

Shape suffixes: B batch, T positions, I width of the input, D of the output; 1 is a layer.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

import torch
from torch import Tensor, nn

Hidden = tuple[Tensor, Tensor]  # output and cell after the last position, each [1, B, D]


class Lstm(nn.LSTM):
    """One LSTM layer, batch first, that computes in autocast's data type.

    Autocast on CUDA casts what cuDNN's LSTMs get to fp16, also where its data type is bf16
    (PyTorch, ATen/cudnn/AutocastRNN.cpp). Gradients would then fall below the least number of fp16
    without a GradScaler, and the run would not compute in the precision that its log names. So the
    casts are made here. cuDNN's LSTM takes bf16 from cuDNN 9.13 on (`use_cudnn` in
    ATen/native/RNN.cpp); before, PyTorch computes the same a word at a time with its own kernels.

    Args:
        inputs: I, width of the input.
        width: D, of the output and the cell.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width, batch_first=True)

    def forward(self, x_BTI: Tensor, hidden: Hidden | None = None) -> tuple[Tensor, Hidden]:  # type: ignore[override]
        """Outputs [B, T, D] and what is remembered after the last; it begins with zeros."""
        device = x_BTI.device.type
        if not torch.is_autocast_enabled(device):
            result: tuple[Tensor, Hidden] = super().forward(x_BTI, hidden)
            return result
        dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            x_BTI = x_BTI.to(dtype)
            zeros_1BD = x_BTI.new_zeros(1, len(x_BTI), self.hidden_size)
            before = (zeros_1BD, zeros_1BD) if hidden is None else (h.to(dtype) for h in hidden)
            # cuDNN takes the four weights as one piece of memory, in this order, else copies them.
            weights = list(self.parameters())  # from input and output; their biases
            flat = torch.cat([weight.to(dtype).flatten() for weight in weights])
            parts = flat.split([weight.numel() for weight in weights])
            lowered = [part.view_as(w) for part, w in zip(parts, weights, strict=True)]
            y_BTD, *after = torch.lstm(
                x_BTI,
                tuple(before),
                lowered,
                has_biases=True,
                num_layers=1,
                dropout=0.0,
                train=self.training,
                bidirectional=False,
                batch_first=True,
            )
        return y_BTD, (after[0], after[1])
