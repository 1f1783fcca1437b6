"""Language modelling: cross-entropy of the next token to learn from, and to be judged by.

Shape suffixes: B batch, S positions, V vocabulary.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt.metrics.log_perplexity import LogPerplexity
from ttt.protocols import Column

if TYPE_CHECKING:
    from ttt.data.tokens import Tokens


class Language:
    """Implements `ttt.protocols.Task` for sequences of tokens that are all as long.

    The logits of a batch are in memory at once, in the precision of the model and in fp32. Those of
    one sequence of 8,192 tokens of Llama 3.1 take 2.1 GB and 4.2 GB, and their gradients as much.
    """

    def loss(self, model: nn.Module, batch: Tokens | tuple[Tensor, Tensor]) -> Tensor:
        """Mean over all tokens of the natural-log cross-entropy, in fp32 for any precision.

        Sequences have one length, so the mean over processes of these means is that over tokens.
        """
        inputs, labels = batch
        return F.cross_entropy(model(inputs).flatten(0, 1).float(), labels.flatten())

    def predict(self, model: nn.Module, batch: Tokens) -> Tensor:
        """Of each sequence the sum of its tokens' negative log-likelihoods, float64 [B]."""
        inputs, labels = batch
        logits = model(inputs).flatten(0, 1).float()
        losses = F.cross_entropy(logits, labels.flatten(), reduction="none")
        sums_B: Tensor = losses.view(labels.shape).sum(dim=1, dtype=torch.float64)
        return sums_B

    def kept(self, prediction: Tensor, batch: Tokens) -> dict[str, Column]:
        """Of each sequence that sum and its tokens: sums over both give the quality."""
        tokens = torch.full_like(prediction, batch.labels.shape[1], dtype=torch.int64)
        return {
            "negative_log_likelihood": prediction.cpu().numpy(),
            "tokens": tokens.cpu().numpy(),
        }

    def metric(self) -> LogPerplexity:
        """Mean natural-log cross-entropy of all tokens."""
        return LogPerplexity()
