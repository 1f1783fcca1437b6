"""GNMT: LSTMs with attention, in the form of MLPerf's reference.

The translation system of Wu et al. 2016 (arXiv:1609.08144), as mlcommons/training made it smaller
(rnn_translator/pytorch/seq2seq/models, "GNMT v2"). The first layer of the encoder reads both ways,
and layers from the third on have a residual connection. The output of the decoder's first layer
asks the attention (Bahdanau et al. 2014, arXiv:1409.0473, with normed weights). Every later layer
gets the answer beside its input. The output at a position never depends on the attention of the one
before, so that training takes all positions of a layer at once.
NVIDIA's v0.7 entry counts 160,671,297 parameters for 32,320 words, as many as here.

It is a plain `nn.Module`: it knows nothing of processes, precision, losses, text or search.

Shape suffixes: B batch, S source and T target positions, K beams of a sentence, N = B * K
hypotheses, D width, V vocabulary; 1 is broadcast.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ttt.models.lstm import Hidden, Lstm
from ttt.protocols import Plan
from ttt.special_tokens import PAD

_SPREAD = 0.1  # initial weights are uniform within this of 0


class Source(NamedTuple):
    """An encoded source, as the decoder attends to it.

    Attributes:
        values: What attention averages, [B, S, D].
        keys: The values as queries are compared with them, [B, S, D].
        words: Which positions may be seen, bool [B, 1, S].
    """

    values: Tensor
    keys: Tensor
    words: Tensor


@dataclass(slots=True)
class GnmtState:
    """What decoding remembers; made by `Gnmt.start`.

    Attributes:
        source: Read alike by all beams of a sentence, so that no beam has a copy.
        hidden: What each layer remembers.
        attention: What each source position got of it so far, summed over words; fp32 [N, S].
    """

    source: Source
    hidden: list[Hidden]
    attention: Tensor

    def reorder(self, order_N: Tensor) -> None:
        """Hypothesis n goes on from what was hypothesis `order_N[n]`, of the same sentence."""
        self.hidden = [
            (output.index_select(1, order_N), cell.index_select(1, order_N))
            for output, cell in self.hidden
        ]
        self.attention = self.attention.index_select(0, order_N)

    def keep(self, sentences_B: Tensor) -> None:
        """Forget all sentences but these, with all their hypotheses."""
        hypotheses = self.hidden[0][0].shape[1]
        beams_K = torch.arange(hypotheses // len(self.source.values), device=sentences_B.device)
        self.reorder((sentences_B[:, None] * len(beams_K) + beams_K).flatten())
        self.source = Source(*(part[sentences_B] for part in self.source))

    def coverage(self) -> Tensor:
        """The sum over source words of log(min(attention so far, 1)), fp32 [B, K]; 0 is all."""
        words_B1S = self.source.words
        got_BKS = self.attention.view(len(words_B1S), -1, words_B1S.shape[-1])
        least = torch.finfo(got_BKS.dtype).tiny  # an attention so small is 0, whose log is not
        return got_BKS.clamp(least, 1.0).log().masked_fill(~words_B1S, 0.0).sum(dim=-1)


class NormedAttention(nn.Module):
    """Additive attention, score = g v/|v| . tanh(W q + U k + b), with one length g to learn.

    The weights' form is that of Salimans and Kingma 2016 (arXiv:1602.07868). The sum inside,
    [B, T, S, D], is the largest tensor there is. It is made once, in the precision of the keys;
    compiled, the forward pass never has it as a whole, and nothing of that size is kept for the
    backward pass.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.direction = nn.Parameter(torch.empty(width))
        self.length = nn.Parameter(torch.empty(1))
        self.bias = nn.Parameter(torch.empty(width))

    def forward(self, query_BTD: Tensor, source: Source) -> Tensor:
        """The share that each query wants of each of the source's values, fp32 [B, T, S]."""
        # Under autocast the product is in its data type and the bias in fp32, which would make an
        # fp32 tensor of all that follows. Both [B, T, S, D] share their memory: tanh's gradient
        # needs its result only.
        asked_BTD = self.query(query_BTD)
        asked_BTD = asked_BTD + self.bias.to(asked_BTD.dtype)
        tanh_BTSD = (asked_BTD[:, :, None] + source.keys[:, None]).tanh_()
        weight_D = self.direction * (self.length / self.direction.norm())
        scores_BTS = (tanh_BTSD @ weight_D.to(tanh_BTSD.dtype)).float()
        shares_BTS: Tensor = scores_BTS.masked_fill(~source.words, -torch.inf).softmax(dim=-1)
        return shares_BTS


class Encoder(nn.Module):
    """A layer that reads both ways, one that joins what both found, then residual ones."""

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.forth, self.back = Lstm(width, width), Lstm(width, width)
        self.joining = Lstm(2 * width, width)
        self.residual = nn.ModuleList(Lstm(width, width) for _ in range(layers - 2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BSD: Tensor, source_BS: Tensor) -> Tensor:
        """Map embedded words [B, S, D] to the same shape; padding's results mean nothing."""
        mirrored_BS1 = _mirrored(source_BS)[..., None]
        x_BSD = self.dropout(x_BSD)
        forth_BSD, _ = self.forth(x_BSD)
        back_BSD, _ = self.back(x_BSD.gather(1, mirrored_BS1.expand_as(x_BSD)))
        back_BSD = back_BSD.gather(1, mirrored_BS1.expand_as(back_BSD))
        y_BSD: Tensor = self.joining(self.dropout(torch.cat([forth_BSD, back_BSD], dim=-1)))[0]
        for lstm in self.residual:
            y_BSD = y_BSD + lstm(self.dropout(y_BSD))[0]
        return y_BSD


class Decoder(nn.Module):
    """A layer that asks the attention; the answer goes into all that follow, residual from third.

    Args:
        width: D.
        layers: LSTMs, at least 2.
        dropout: On the input of each.
    """

    def __init__(self, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.attention = NormedAttention(width)
        self.layers = nn.ModuleList(
            Lstm(width if i == 0 else 2 * width, width) for i in range(layers)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, source: Source) -> Tensor:
        """Map embedded words [B, T, D] to the same shape, all positions at once."""
        return self._through(x_BTD, source, lambda index, x: self.layers[index](x)[0])[0]

    def step(self, x_BKD: Tensor, source: Source, hidden: list[Hidden]) -> tuple[Tensor, Tensor]:
        """The same for the next word of every beam, [B, K, D], and its attention, [B, K, S].

        Replaces what `hidden` lists.
        """

        def run(index: int, x_BKI: Tensor) -> Tensor:
            y_N1D, hidden[index] = self.layers[index](x_BKI.flatten(0, 1)[:, None], hidden[index])
            y_BKD: Tensor = y_N1D.view(*x_BKI.shape[:2], -1)
            return y_BKD

        return self._through(x_BKD, source, run)

    def _through(
        self, x_BTD: Tensor, source: Source, run: Callable[[int, Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Through all layers, the LSTM of each run by `run(index, input)`; also the attention."""
        x_BTD = run(0, self.dropout(x_BTD))
        shares_BTS = self.attention(x_BTD, source)
        context_BTD = shares_BTS.to(source.values.dtype) @ source.values
        for index in range(1, len(self.layers)):
            y_BTD = run(index, self.dropout(torch.cat([x_BTD, context_BTD], dim=-1)))
            x_BTD = y_BTD if index == 1 else x_BTD + y_BTD
        return x_BTD, shares_BTS


class Gnmt(nn.Module):
    """Encoder and decoder with a shared embedding; the output has its own weights and a bias.

    Args:
        vocabulary: Words of both languages together, V.
        layers: LSTM layers of the encoder and of the decoder each, at least 2.
        width: Of embeddings, LSTMs and attention, D.
        dropout: On the input of every LSTM.
    """

    def __init__(
        self, *, vocabulary: int, layers: int = 4, width: int = 1024, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.encoder = Encoder(width, layers, dropout)
        self.decoder = Decoder(width, layers, dropout)
        self.output = nn.Linear(width, vocabulary)
        self.apply(_initialise)

    def plan(self) -> Plan:
        """By LSTMs, and the output; an LSTM is one kernel and is not cut inside."""
        lstms = [name for name, module in self.named_modules() if isinstance(module, Lstm)]
        return Plan(units=[*lstms, "output"])

    def forward(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Logits of the word after each target position.

        Args:
            source_BS: Words, end of sentence included, then padding; int64.
            target_BT: A begin of sentence and the words before each prediction, then padding.

        Returns:
            Logits [B, T, V] in the model's precision. Those at padding mean nothing.
        """
        source = self._encode(source_BS)
        logits_BTV: Tensor = self.output(self.decoder(self.embedding(target_BT), source))
        return logits_BTV

    def start(self, source_BS: Tensor, beam: int, max_length: int) -> GnmtState:
        """Read the source, to then `advance` word by word for `beam` hypotheses each.

        Args:
            source_BS: Words, end of sentence included, then padding; int64.
            beam: Hypotheses of each sentence, K; those of sentence b are b * K to b * K + K - 1.
            max_length: Unused; what LSTMs remember does not grow.
        """
        source = self._encode(source_BS)
        rows, (_, positions, width) = len(source_BS) * beam, source.values.shape
        nothing_1ND = source.values.new_zeros(1, rows, width)
        return GnmtState(
            source=source,
            hidden=[(nothing_1ND, nothing_1ND)] * len(self.decoder.layers),
            attention=source.values.new_zeros(rows, positions, dtype=torch.float32),
        )

    def advance(self, tokens_N: Tensor, state: GnmtState) -> Tensor:
        """Take in one more word of every hypothesis; logits [N, V] of the next."""
        x_BKD = self.embedding(tokens_N.view(len(state.source.values), -1))
        y_BKD, shares_BKS = self.decoder.step(x_BKD, state.source, state.hidden)
        state.attention = state.attention + shares_BKS.flatten(0, 1)
        logits_NV: Tensor = self.output(y_BKD.flatten(0, 1))
        return logits_NV

    def _encode(self, source_BS: Tensor) -> Source:
        values_BSD = self.encoder(self.embedding(source_BS), source_BS)
        words_BS = source_BS != PAD
        words_BS[:, 0] = True  # a softmax over nothing would be NaN
        return Source(values_BSD, self.decoder.attention.key(values_BSD), words_BS[:, None])


def _mirrored(source_BS: Tensor) -> Tensor:
    """Where each position's word is when sentences are read from their last word to their first.

    Padding stays where it is, so that an LSTM reads it after the words, where it does no harm. It
    is the same both ways. Packed sequences would do as much, but want the lengths on the host.
    """
    places_1S = torch.arange(source_BS.shape[1], device=source_BS.device)[None]
    lengths_B1 = (source_BS != PAD).sum(dim=1, keepdim=True)
    return torch.where(places_1S < lengths_B1, lengths_B1 - 1 - places_1S, places_1S)


def _initialise(module: nn.Module) -> None:
    """Initial weights of MLPerf's reference: uniform, of an LSTM's two biases the second zero."""
    if isinstance(module, (nn.Embedding, nn.Linear, nn.LSTM)):
        for name, weight in module.named_parameters():
            nn.init.uniform_(weight, -_SPREAD, _SPREAD)
            if name.startswith("bias_hh"):
                nn.init.zeros_(weight)
    elif isinstance(module, NormedAttention):
        nn.init.uniform_(module.direction, -_SPREAD, _SPREAD)
        nn.init.constant_(module.length, len(module.direction) ** -0.5)
        nn.init.zeros_(module.bias)
