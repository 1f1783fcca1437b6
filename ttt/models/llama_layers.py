"""The layers of a Llama decoder: rotary positions, grouped-query attention, gated networks.

Shape suffixes: B batch, S positions, D width, H heads, C numbers of a head.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Turns = tuple[Tensor, Tensor]  # cosines and sines of every position's angles, fp32 [S, C]


@dataclass(frozen=True, slots=True)
class Scaling:
    """How Llama 3.1 stretches rotary frequencies to longer texts than were trained before.

    Source: `apply_scaling` of meta-llama/llama-models (models/llama3), the values in its defaults.

    Attributes:
        factor: Divides frequencies that are low.
        low: Turns within `context` below which a frequency is low.
        high: Turns above which it is kept.
        context: Positions that were trained before.
    """

    factor: float = 8.0
    low: float = 1.0
    high: float = 4.0
    context: int = 8192

    def __call__(self, frequencies: Tensor) -> Tensor:
        """Frequencies in radians a position: low ones divided, high ones kept, others mixed."""
        turns = self.context * frequencies / (2 * math.pi)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return frequencies * (kept + (1 - kept) / self.factor)


class Rotary(nn.Module):
    """The angles by which positions turn queries and keys (Su et al. 2021, arXiv:2104.09864).

    They are computed once, in fp32, for the longest sequence. They are no state of the model: what
    is saved does not have them.

    Args:
        size: Numbers of a head, C; even.
        length: Most positions.
        theta: Base of the frequencies: theta ** (-2 i / C) for pair i.
        scaling: What changes them; None for nothing.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(self, size: int, length: int, theta: float, scaling: Scaling | None) -> None:
        super().__init__()
        frequencies = theta ** (-torch.arange(0, size, 2, dtype=torch.float32) / size)
        if scaling is not None:
            frequencies = scaling(frequencies)
        angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies
        angles = torch.cat((angles, angles), dim=1)  # number i and number i + C / 2 are a pair
        self.register_buffer("cosines", angles.cos(), persistent=False)
        self.register_buffer("sines", angles.sin(), persistent=False)

    def forward(self, length: int) -> Turns:
        """Those of the first positions."""
        return self.cosines[:length], self.sines[:length]


def turned(x_BHSC: Tensor, turns: Turns) -> Tensor:
    """Heads turned by their positions, in fp32: bf16 would lose the far ones' angles."""
    cosines_SC, sines_SC = turns
    x = x_BHSC.float()
    first, second = x.chunk(2, dim=-1)
    return (x * cosines_SC + torch.cat((-second, first), dim=-1) * sines_SC).type_as(x_BHSC)


class Attention(nn.Module):
    """Causal attention in which several heads of queries share one of keys and values.

    Ainslie et al. 2023 (arXiv:2305.13245). Without biases.
    """

    def __init__(self, width: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self._size = width // heads
        self.query = nn.Linear(width, heads * self._size, bias=False)
        self.key = nn.Linear(width, kv_heads * self._size, bias=False)
        self.value = nn.Linear(width, kv_heads * self._size, bias=False)
        self.output = nn.Linear(heads * self._size, width, bias=False)

    def forward(self, x_BSD: Tensor, turns: Turns) -> Tensor:
        """What every position takes from itself and those before it, [B, S, D]."""
        # A process of a tensor axis has some of the heads: their number follows from the weights.
        queries, keys, values = (
            project(x_BSD).unflatten(2, (-1, self._size)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        queries, keys = turned(queries, turns), turned(keys, turns)
        grouped = keys.shape[1] < queries.shape[1]
        if grouped and queries.is_cuda and queries.dtype == torch.float32:
            # PyTorch's only fast kernel for fp32 on GPUs, the memory-efficient one, has no groups.
            shared = queries.shape[1] // keys.shape[1]
            keys, values = (each.repeat_interleave(shared, dim=1) for each in (keys, values))
            grouped = False
        seen_BHSC = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=grouped
        )
        out_BSD: Tensor = self.output(seen_BHSC.transpose(1, 2).flatten(2))
        return out_BSD


class GatedMlp(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv:2002.05202): down(silu(gate(x)) * up(x)), without biases."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, inner, bias=False)
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """[B, S, D] for each position by itself."""
        out_BSD: Tensor = self.down(F.silu(self.gate(x_BSD)) * self.up(x_BSD))
        return out_BSD


class Block(nn.Module):
    """Attention, then a gated network; each reads a norm of the residual stream and adds to it."""

    def __init__(
        self, width: int, heads: int, kv_heads: int, inner: int, norm_epsilon: float
    ) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, norm_epsilon)
        self.attention = Attention(width, heads, kv_heads)
        self.mlp_norm = nn.RMSNorm(width, norm_epsilon)
        self.mlp = GatedMlp(width, inner)

    def forward(self, x_BSD: Tensor, turns: Turns) -> Tensor:
        """The residual stream after this block, [B, S, D]."""
        x_BSD = x_BSD + self.attention(self.attention_norm(x_BSD), turns)
        out_BSD: Tensor = x_BSD + self.mlp(self.mlp_norm(x_BSD))
        return out_BSD
