"""BERT for pre-training: which words were masked, and whether one text follows another.

The network of Devlin et al. 2018 (arXiv:1810.04805) as MLPerf's reference has it (mlcommons/
training, language_model/tensorflow/bert/modeling.py). It has a norm after each sum, GELU by the
error function, learned positions, and a head for masked words that shares the table of words. Its
336,226,108 numbers with the default settings are those of the reference, pooler and heads included.

It is a plain `nn.Module`: it knows nothing of processes, precision, losses or text.

Shape suffixes: B batch, S positions, P predictions of a sequence, H heads, D width, V vocabulary.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt.protocols import Plan, Style

_EPSILON = 1e-12  # of norms
_STD = 0.02  # of first weights, cut at twice as much


class Bert(nn.Module):
    """An encoder of attention with the two heads of pre-training. Defaults: BERT-large.

    Args:
        vocabulary: Words, V.
        layers: Of the encoder.
        width: Of every position between layers, D; a multiple of `heads`.
        heads: Of every attention.
        feedforward: Inner width of the feed-forward networks.
        positions: The longest sequence.
        segments: Texts of a sequence that the model tells apart.
        dropout: On embeddings and on every sublayer's output, before it is added.
        attention_dropout: On attention weights.
        initial: File of a checkpoint to start from; None: from random weights. It is read here,
            before the clock starts; see `ttt.models.bert_initial`.

    Raises:
        DataError: The checkpoint is absent, damaged or of another network.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the configuration
        self,
        *,
        vocabulary: int,
        layers: int = 24,
        width: int = 1024,
        heads: int = 16,
        feedforward: int = 4096,
        positions: int = 512,
        segments: int = 2,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        initial: str | None = None,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(positions, width)
        self.segments = nn.Embedding(segments, width)
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            BertLayer(width, heads, feedforward, dropout, attention_dropout) for _ in range(layers)
        )
        self.pooler = nn.Linear(width, width)
        self.follows = nn.Linear(width, 2)
        self.transform = nn.Linear(width, width)
        self.transform_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.apply(_initialise)
        if initial is not None:
            from ttt.models.bert_initial import load  # noqa: PLC0415 - only who starts from one

            load(self, initial)

    def plan(self) -> Plan:
        """By layers; the two products of a feed-forward network also by their inner width."""
        layers = [f"layers.{i}" for i in range(len(self.layers))]
        products: tuple[tuple[str, Style], ...] = (("0", "column"), ("2", "row"))
        styles = {f"{each}.feedforward.{place}": s for each in layers for place, s in products}
        return Plan(units=layers, tensor=styles)

    def forward(
        self, words_BS: Tensor, segments_BS: Tensor, mask_BS: Tensor, places_BP: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits of the words at some places, and of whether the second text is a random one.

        Args:
            words_BS: Words, some of them masked; int64, as all of these.
            segments_BS: Which text each word is of.
            mask_BS: 1 where there is a word, 0 at padding.
            places_BP: Places to predict the words of; padding may point anywhere.

        Returns:
            Logits [B, P, V] and [B, 2] in the model's precision.
        """
        count = words_BS.shape[1]
        x_BSD = self.words(words_BS) + self.positions.weight[:count] + self.segments(segments_BS)
        x_BSD = self.dropout(self.norm(x_BSD))
        seen_B11S = mask_BS.bool()[:, None, None, :]
        for layer in self.layers:
            x_BSD = layer(x_BSD, seen_B11S)
        follows_B2 = self.follows(torch.tanh(self.pooler(x_BSD[:, 0])))
        chosen_BPD = x_BSD.gather(1, places_BP[:, :, None].expand(-1, -1, x_BSD.shape[2]))
        chosen_BPD = self.transform_norm(F.gelu(self.transform(chosen_BPD)))
        return F.linear(chosen_BPD, self.words.weight, self.bias), follows_B2


class BertLayer(nn.Module):
    """Attention of every position to every word, then a network for each, a norm after each sum.

    Queries, keys and values are three products: LAMB moves each weight by its own norm, and the
    reference has three.
    """

    def __init__(
        self, width: int, heads: int, feedforward: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.attention_dropout = attention_dropout
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm = nn.LayerNorm(width, eps=_EPSILON)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width)
        )
        self.norm = nn.LayerNorm(width, eps=_EPSILON)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor, seen_B11S: Tensor) -> Tensor:
        """The layer's output, [B, S, D].

        Args:
            x_BSD: Its input.
            seen_B11S: Which positions may be seen.
        """
        q_BHSC, k_BHSC, v_BHSC = (
            product(x_BSD).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for product in (self.query, self.key, self.value)
        )
        attended_BHSC = F.scaled_dot_product_attention(
            q_BHSC,
            k_BHSC,
            v_BHSC,
            attn_mask=seen_B11S,
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        attended_BSD = self.output(attended_BHSC.transpose(1, 2).flatten(2))
        x_BSD = self.attention_norm(x_BSD + self.dropout(attended_BSD))
        output_BSD: Tensor = self.norm(x_BSD + self.dropout(self.feedforward(x_BSD)))
        return output_BSD


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        _draw(module.weight)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


@torch.no_grad()
def _draw(weight: Tensor) -> None:
    """A normal distribution cut at twice its deviation, by the inverse of its integral.

    torch's own draws again what lies outside until nothing does: a loop that looks at values, which
    a tensor without values never ends.
    """
    inside = math.erf(math.sqrt(2))  # the share within twice the deviation
    weight.uniform_(-inside, inside).erfinv_().mul_(math.sqrt(2) * _STD)
    weight.clamp_(-2 * _STD, 2 * _STD)  # rounding
