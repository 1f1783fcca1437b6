"""Translation: label-smoothed cross-entropy of each word to learn from, BLEU to be judged by.

Shape suffixes: B batch, S source positions, T target positions, N = B * T, V vocabulary.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ttt.data.text import Pairs, Sentences
from ttt.metrics.bleu import Bleu
from ttt.models.beam import search
from ttt.protocols import Column
from ttt.special_tokens import PAD, without_special


class Translation:
    """Implements `ttt.protocols.Task` for sentence pairs.

    Args:
        label_smoothing: Share of the target spread over the vocabulary (Szegedy et al. 2016).
        beam: Unfinished hypotheses kept for each sentence; 1 is greedy search.
        length_penalty: See `ttt.models.beam.search`.
        coverage_penalty: See `ttt.models.beam.search`; not every model knows its coverage.
        extra_length: Words a translation may have more than the longest source of its batch
            (Vaswani et al. 2017, section 6.1: 50).
        lowercase: Judge without case.
        tokenize: sacrebleu's way to find words; see `ttt.metrics.bleu.Bleu`.
    """

    def __init__(
        self,
        *,
        label_smoothing: float,
        beam: int,
        length_penalty: float,
        coverage_penalty: float,
        extra_length: int,
        lowercase: bool,
        tokenize: Literal["13a", "intl"],
    ) -> None:
        self._label_smoothing = label_smoothing
        self._beam = beam
        self._length_penalty = length_penalty
        self._coverage_penalty = coverage_penalty
        self._extra_length = extra_length
        self._lowercase = lowercase
        self._tokenize = tokenize

    def loss(self, model: nn.Module, batch: Pairs) -> Tensor:
        """Cross-entropy summed over each row's words and weighted by row; fp32 in any precision.

        Over all processes and parts of an update it becomes the mean over words; see `Pairs`.
        """
        source_BS, target_in_BT, target_out_BT, weight_B = batch
        logits_BTV = model(source_BS, target_in_BT)
        losses_N = F.cross_entropy(
            logits_BTV.flatten(0, 1).float(),
            target_out_BT.flatten(),
            ignore_index=PAD,
            reduction="none",
            label_smoothing=self._label_smoothing,
        )
        return losses_N.view_as(target_out_BT).sum(dim=1) @ weight_B

    def predict(self, model: nn.Module, batch: Sentences) -> Tensor:
        """Hypotheses by beam search, int64 [B, T], each ended by EOS and padded."""
        hypotheses_BT: Tensor = search(
            model,  # type: ignore[arg-type]  # any that can be searched
            batch.source,
            beam=self._beam,
            length_penalty=self._length_penalty,
            coverage_penalty=self._coverage_penalty,
            max_length=batch.source.shape[1] + self._extra_length,
        )
        return hypotheses_BT

    def kept(self, prediction: Tensor, batch: Sentences) -> dict[str, Column]:
        """Three texts: the source as the model reads it, the reference, and the hypothesis."""
        sources, hypotheses = (
            batch.decode([without_special(ids) for ids in table.tolist()])
            for table in (batch.source, prediction)
        )
        return {"source": sources, "reference": batch.references, "hypothesis": hypotheses}

    def metric(self) -> Bleu:
        """BLEU against one human translation of each sentence."""
        return Bleu(lowercase=self._lowercase, tokenize=self._tokenize)
