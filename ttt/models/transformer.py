"""The Transformer for translation: a whole batch at once, or decoding a word at a time.

The network of Vaswani et al. 2017 (arXiv:1706.03762) in the details that MLPerf's reference fixes
(mlcommons/training, translation/tensorflow/transformer/model). Norms come before the sublayers, and
one more at the end of each stack. One table is for source words, target words and output. The
initial weights are the reference's, too. `norm_first=False` is the order of the paper: a norm after
each sum, and none at the end.
NVIDIA's v0.7 entry, fairseq's transformer_wmt_en_de_big_t2t, is the reference's network: its log
counts 210,808,832 parameters for 33,712 words, as many as here.

It is a plain `nn.Module`: it knows nothing of processes, precision, losses, text or search.

Shape suffixes: B batch, S source and T target positions, K beams of a sentence, N = B * K
hypotheses, L layers, D width, V vocabulary; 1 is broadcast.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt.models.transformer_layers import (
    NORM_EPSILON,
    DecoderLayer,
    EncoderLayer,
    LayerSettings,
    Memory,
)
from ttt.protocols import Plan, Style
from ttt.special_tokens import PAD


@dataclass(slots=True)
class TransformerState:
    """What decoding remembers; made by `Transformer.start`.

    Attributes:
        words: Which source positions may be seen, bool [B, 1, 1, S].
        memory: The source as each decoder layer sees it. All beams of a sentence read the same, so
            that it is neither copied for a beam nor moved when beams are reordered.
        positions: Encodings of the target positions, [T, D].
        past: Keys and values of the words so far, [T, L, 2, N, D]. Time comes first: the part in
            use, `length` of T, is one piece of memory.
        spare: Another of that size, for reordering by a single copy.
        length: Words taken in.
    """

    words: Tensor
    memory: list[Memory]
    positions: Tensor
    past: Tensor
    spare: Tensor
    length: int = 0

    def reorder(self, order_N: Tensor) -> None:
        """Hypothesis n goes on from what was hypothesis `order_N[n]`, of the same sentence."""
        used = slice(self.length)
        torch.index_select(self.past[used], 3, order_N, out=self.spare[used])
        self.past, self.spare = self.spare, self.past

    def keep(self, sentences_B: Tensor) -> None:
        """Forget all sentences but these, with all their hypotheses."""
        beams_K = torch.arange(self.past.shape[3] // len(self.words), device=sentences_B.device)
        order_N = (sentences_B[:, None] * len(beams_K) + beams_K).flatten()
        self.spare = self.past.new_empty(*self.past.shape[:3], len(order_N), self.past.shape[4])
        self.reorder(order_N)
        self.spare = torch.empty_like(self.past)
        self.words = self.words[sentences_B]
        self.memory = [(k[sentences_B], v[sentences_B]) for k, v in self.memory]


class Transformer(nn.Module):
    """Encoder and decoder with shared, tied embeddings.

    Args:
        vocabulary: Words of both languages together, V.
        encoder_layers: Layers of the encoder.
        decoder_layers: Layers of the decoder.
        width: Of every position between layers, D; even, and a multiple of `heads`.
        heads: Of every attention.
        feedforward: Inner width of the feed-forward networks.
        dropout: On embeddings and on every sublayer's output, before it is added.
        attention_dropout: On attention weights.
        relu_dropout: Inside the feed-forward networks.
        norm_first: Norms before sublayers and at the end of each stack; else after each sum.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the configuration
        self,
        *,
        vocabulary: int,
        encoder_layers: int = 6,
        decoder_layers: int = 6,
        width: int = 512,
        heads: int = 8,
        feedforward: int = 2048,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        relu_dropout: float = 0.1,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        settings = LayerSettings(
            width=width,
            heads=heads,
            feedforward=feedforward,
            dropout=dropout,
            attention_dropout=attention_dropout,
            relu_dropout=relu_dropout,
            norm_first=norm_first,
        )
        self.width = width
        self.embedding = nn.Embedding(vocabulary, width)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(EncoderLayer(settings) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(settings) for _ in range(decoder_layers))
        self.encoder_norm, self.decoder_norm = (
            nn.LayerNorm(width, eps=NORM_EPSILON) if norm_first else nn.Identity() for _ in range(2)
        )
        self.apply(_initialise)

    def plan(self) -> Plan:
        """By layers; the two products of a feed-forward network also by their inner width.

        Attention is not cut: queries, keys and values are columns of one product, and a part of
        these would hold more of the one than of the other.
        """
        encoder, decoder = len(self.encoder), len(self.decoder)
        layers = [f"encoder.{i}" for i in range(encoder)] + [f"decoder.{i}" for i in range(decoder)]
        products: tuple[tuple[str, Style], ...] = (("0", "column"), ("3", "row"))
        styles = {f"{each}.feedforward.{place}": s for each in layers for place, s in products}
        return Plan(units=layers, tensor=styles)

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Logits of the word after each target position.

        Args:
            source_BS: Words, end of sentence included, then padding; int64.
            target_BT: A begin of sentence and the words before each prediction, then padding.

        Returns:
            Logits [B, T, V] in the model's precision. Those at padding mean nothing.
        """
        words_B11S = _words(source_BS)
        x_BSD = self._encode(source_BS, words_B11S)
        # Padding is to the right of every word, so that seeing no later position suffices.
        y_BTD = self._embed(target_BT, _positions(target_BT.shape[1], self.width, x_BSD.device))
        for layer in self.decoder:
            y_BTD = layer(y_BTD, x_BSD, words_B11S)
        return self._logits(y_BTD)

    def start(self, source_BS: Tensor, beam: int, max_length: int) -> TransformerState:
        """Read the source, to then `advance` up to `max_length` words for `beam` hypotheses each.

        Args:
            source_BS: Words, end of sentence included, then padding; int64.
            beam: Hypotheses of each sentence, K; those of sentence b are b * K to b * K + K - 1.
            max_length: Words that will be taken in at most.
        """
        words_B11S = _words(source_BS)
        x_BSD = self._encode(source_BS, words_B11S)
        memory = [layer.cross.remember(x_BSD) for layer in self._decoder_layers()]
        keys = memory[0][0]  # of the precision that autocast, if any, computes in
        rows = len(source_BS) * beam
        past = keys.new_empty(max_length, len(memory), 2, rows, self.width)
        return TransformerState(
            words=words_B11S,
            memory=memory,
            positions=_positions(max_length, self.width, x_BSD.device),
            past=past,
            spare=torch.empty_like(past),
        )

    def advance(self, tokens_N: Tensor, state: TransformerState) -> Tensor:
        """Take in one more word of every hypothesis; logits [N, V] of the next."""
        place = state.length
        state.length += 1
        sentences = len(state.words)
        x_BKD = self._embed(tokens_N.view(sentences, -1), state.positions[place])
        for index, layer in enumerate(self._decoder_layers()):
            past_T2ND = state.past[: state.length, index]
            x_BKD = layer.step(x_BKD, past_T2ND, state.memory[index], state.words)
        return self._logits(x_BKD).flatten(0, 1)

    def _decoder_layers(self) -> Iterable[DecoderLayer]:
        return cast("Iterable[DecoderLayer]", self.decoder)  # a ModuleList forgets its type

    def _encode(self, source_BS: Tensor, words_B11S: Tensor) -> Tensor:
        positions_SD = _positions(source_BS.shape[1], self.width, source_BS.device)
        x_BSD = self._embed(source_BS, positions_SD)
        for layer in self.encoder:
            x_BSD = layer(x_BSD, words_B11S)
        y_BSD: Tensor = self.encoder_norm(x_BSD)
        return y_BSD

    def _embed(self, tokens_BT: Tensor, positions: Tensor) -> Tensor:
        x_BTD: Tensor = self.dropout(self.embedding(tokens_BT) * math.sqrt(self.width) + positions)
        return x_BTD

    def _logits(self, x_BTD: Tensor) -> Tensor:
        return F.linear(self.decoder_norm(x_BTD), self.embedding.weight)


def _words(source_BS: Tensor) -> Tensor:
    """Which positions may be seen, [B, 1, 1, S].

    The first always, so that no softmax is over nothing, which would be NaN.
    """
    words_BS = source_BS != PAD
    words_BS[:, 0] = True
    return words_BS[:, None, None, :]


def _positions(length: int, width: int, device: torch.device) -> Tensor:
    """Sines, then cosines, of wavelengths from 2 pi to 10,000 times that; fp32 [T, D].

    Vaswani et al. 2017, section 3.5, in tensor2tensor's order, where the two kinds are halves and
    do not alternate. It is computed anew for each batch: small beside one layer, and no buffer has
    to be as long as the longest sentence there may ever be.
    """
    waves = width // 2
    step = -math.log(1.0e4) / max(waves - 1, 1)
    frequencies = torch.exp(torch.arange(waves, device=device) * step)
    angles = torch.arange(length, device=device)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _initialise(module: nn.Module) -> None:
    """Initial weights of MLPerf's reference.

    Glorot's uniform distribution, for each of several products that are computed as one; zero
    biases; embeddings with a variance of 1 / D, as they are multiplied by sqrt(D).
    """
    if isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
    elif isinstance(module, nn.Linear):
        attention = module.bias is None
        products = module.out_features // module.in_features if attention else 1
        for weight in module.weight.chunk(products):
            nn.init.xavier_uniform_(weight)
        if not attention:
            nn.init.zeros_(module.bias)
