"""The layers of a Transformer, each for a whole sequence and for its newest word alone.

Formulas are those of Vaswani et al. 2017 (arXiv:1706.03762), section 3. Attention has no biases, as
in tensor2tensor and MLPerf's reference; the paper leaves them open. The caller gives
the positions that may be seen; a layer knows no words.

Shape suffixes: B batch, S source and T target positions, K beams of a sentence, N = B * K
hypotheses, D width, H heads, E width of a head; 1 is broadcast.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPSILON = 1e-6  # of MLPerf's reference; PyTorch's own would be 1e-5

Memory = tuple[Tensor, Tensor]  # keys and values of a source, each [B, H, S, E]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerSettings:
    """What all layers of a Transformer share; see `ttt.models.transformer.Transformer`."""

    width: int
    heads: int
    feedforward: int
    dropout: float
    attention_dropout: float
    relu_dropout: float
    norm_first: bool


class Residual(nn.Module):
    """A sublayer beside an identity, with its norm before it or, as in the paper, after the sum."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(settings.width, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(settings.dropout)
        self.norm_first = settings.norm_first

    def forward(self, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Map [..., D] to the same shape."""
        if self.norm_first:
            y: Tensor = x + self.dropout(sublayer(self.norm(x)))
        else:
            y = self.norm(x + self.dropout(sublayer(x)))
        return y


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself; queries, keys and values are one product."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.heads = settings.heads
        self.dropout = settings.attention_dropout
        self.qkv = nn.Linear(settings.width, 3 * settings.width, bias=False)
        self.out = nn.Linear(settings.width, settings.width, bias=False)

    def forward(self, x_BTD: Tensor, seen_B11T: Tensor | None) -> Tensor:
        """Attend to the positions marked or, without marks, to all up to one's own."""
        q, k, v = (_split(part, self.heads) for part in self.qkv(x_BTD).chunk(3, dim=-1))
        y_BHTE = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=seen_B11T,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=seen_B11T is None,
        )
        y_BTD: Tensor = self.out(_join(y_BHTE))
        return y_BTD

    def step(self, x_ND: Tensor, past_T2ND: Tensor) -> Tensor:
        """Attend from the newest word to all of them; its key and value go into the last place."""
        q_ND, k_ND, v_ND = self.qkv(x_ND).chunk(3, dim=-1)
        past_T2ND[-1, 0] = k_ND
        past_T2ND[-1, 1] = v_ND
        k_NHTE, v_NHTE = (
            past_TND.unflatten(-1, (self.heads, -1)).permute(1, 2, 0, 3)  # a view, no copy
            for past_TND in past_T2ND.unbind(1)
        )
        q_NH1E = _split(q_ND[:, None], self.heads)
        y_NH1E = F.scaled_dot_product_attention(q_NH1E, k_NHTE, v_NHTE)
        y_ND: Tensor = self.out(_join(y_NH1E)[:, 0])
        return y_ND


class CrossAttention(nn.Module):
    """Multi-head attention to the source, whose keys and values are computed once a sentence."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.heads = settings.heads
        self.dropout = settings.attention_dropout
        self.q = nn.Linear(settings.width, settings.width, bias=False)
        self.kv = nn.Linear(settings.width, 2 * settings.width, bias=False)
        self.out = nn.Linear(settings.width, settings.width, bias=False)

    def remember(self, source_BSD: Tensor) -> Memory:
        """Keys and values of an encoded source."""
        k_BSD, v_BSD = self.kv(source_BSD).chunk(2, dim=-1)
        return _split(k_BSD, self.heads), _split(v_BSD, self.heads)

    def forward(self, x_BTD: Tensor, memory: Memory, words_B11S: Tensor) -> Tensor:
        """Attend from [B, T, D], where T may as well be the newest words of all beams."""
        y_BHTE = F.scaled_dot_product_attention(
            _split(self.q(x_BTD), self.heads),
            *memory,
            attn_mask=words_B11S,
            dropout_p=self.dropout if self.training else 0.0,
        )
        y_BTD: Tensor = self.out(_join(y_BHTE))
        return y_BTD


class FeedForward(nn.Sequential):
    """Two linear maps with a ReLU between, at every position alike."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__(
            nn.Linear(settings.width, settings.feedforward),
            nn.ReLU(),
            nn.Dropout(settings.relu_dropout),
            nn.Linear(settings.feedforward, settings.width),
        )


class EncoderLayer(nn.Module):
    """Self-attention, then a feed-forward network."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.attention = SelfAttention(settings)
        self.feedforward = FeedForward(settings)
        self.residuals = nn.ModuleList(Residual(settings) for _ in range(2))

    def forward(self, x_BSD: Tensor, words_B11S: Tensor) -> Tensor:
        """Map [B, S, D] to the same shape."""
        x_BSD = self.residuals[0](x_BSD, lambda x: self.attention(x, words_B11S))
        y_BSD: Tensor = self.residuals[1](x_BSD, self.feedforward)
        return y_BSD


class DecoderLayer(nn.Module):
    """Self-attention to earlier positions, attention to the source, then a feed-forward network."""

    def __init__(self, settings: LayerSettings) -> None:
        super().__init__()
        self.attention = SelfAttention(settings)
        self.cross = CrossAttention(settings)
        self.feedforward = FeedForward(settings)
        self.residuals = nn.ModuleList(Residual(settings) for _ in range(3))

    def forward(self, x_BTD: Tensor, source_BSD: Tensor, words_B11S: Tensor) -> Tensor:
        """Map [B, T, D] to the same shape, all positions at once."""
        memory = self.cross.remember(source_BSD)
        return self._after_past(
            self.residuals[0](x_BTD, lambda x: self.attention(x, None)), memory, words_B11S
        )

    def step(self, x_BKD: Tensor, past_T2ND: Tensor, memory: Memory, words_B11S: Tensor) -> Tensor:
        """The same for the newest word of every beam, [B, K, D]."""
        x_BKD = self.residuals[0](
            x_BKD, lambda x: self.attention.step(x.flatten(0, 1), past_T2ND).view_as(x)
        )
        return self._after_past(x_BKD, memory, words_B11S)

    def _after_past(self, x_BTD: Tensor, memory: Memory, words_B11S: Tensor) -> Tensor:
        x_BTD = self.residuals[1](x_BTD, lambda x: self.cross(x, memory, words_B11S))
        y_BTD: Tensor = self.residuals[2](x_BTD, self.feedforward)
        return y_BTD


def _split(x_BTD: Tensor, heads: int) -> Tensor:
    """[B, T, D] as [B, H, T, E], without a copy."""
    x_BTHE: Tensor = x_BTD.unflatten(-1, (heads, -1))
    return x_BTHE.transpose(1, 2)


def _join(x_BHTE: Tensor) -> Tensor:
    """[B, H, T, E] as [B, T, D]."""
    return x_BHTE.transpose(1, 2).flatten(2)
