"""Masked language modelling: learn masked words and which text follows, be judged by the words.

Shape suffixes: B batch, P predictions of a sequence, V vocabulary.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ttt.data.masked import MaskedBatch
from ttt.metrics.masked_accuracy import MaskedAccuracy
from ttt.protocols import Column


class MaskedLanguage:
    """Implements `ttt.protocols.Task` for masked sequences."""

    def loss(self, model: nn.Module, batch: MaskedBatch) -> Tensor:
        """Mean cross-entropy of the masked words, and that of what follows; fp32 in any precision.

        As the reference's run_pretraining.py adds them (mlcommons/training, bert). Over all
        processes and parts of an update the first becomes the mean over words; see `MaskedBatch`.
        The reference's is a mean of each process's means.
        """
        words, mask, segments, places, labels_BP, weights_BP, follows_B = batch
        logits_BPV, follows_B2 = model(words, segments, mask, places)
        losses = F.cross_entropy(
            logits_BPV.flatten(0, 1).float(), labels_BP.flatten(), reduction="none"
        )
        masked = losses @ weights_BP.flatten()
        total: Tensor = masked + F.cross_entropy(follows_B2.float(), follows_B)
        return total

    def predict(self, model: nn.Module, batch: MaskedBatch) -> Tensor:
        """The likeliest word of each place, int64 [B, P]; -1 where a logit is NaN."""
        logits_BPV, _ = model(batch.words, batch.segments, batch.mask, batch.places)
        words_BP: Tensor = logits_BPV.argmax(dim=2)
        return words_BP.masked_fill(logits_BPV.isnan().any(dim=2), -1)

    def metric(self) -> MaskedAccuracy:
        """Share of masked words that are predicted."""
        return MaskedAccuracy()

    def kept(self, prediction: Tensor, batch: MaskedBatch) -> dict[str, Column]:
        """Of each sample: its masked words, and how many of them are predicted."""
        counted_BP = batch.weights > 0
        right_BP = (prediction == batch.labels) & counted_BP
        return {
            "masked": counted_BP.sum(dim=1).cpu().numpy(),
            "right": right_BP.sum(dim=1).cpu().numpy(),
        }
