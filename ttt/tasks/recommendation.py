"""Recommendation: log loss of clicks to learn from, AUC to be judged by."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttt.metrics.auc import Auc
from ttt.protocols import Column

ClickBatch = tuple[Tensor, Tensor, Tensor]  # dense fp32 [B, D], ids int64 [B, H], labels fp32 [B]


class ClickPrediction:
    """Implements `ttt.protocols.Task` for a model from (dense, ids) to one logit a sample."""

    def loss(self, model: nn.Module, batch: ClickBatch) -> Tensor:
        """Mean binary cross-entropy, in fp32 for any precision of the model."""
        dense, ids, labels = batch
        return F.binary_cross_entropy_with_logits(model(dense, ids).float(), labels)

    def predict(self, model: nn.Module, batch: ClickBatch) -> Tensor:
        """Logits [B].

        Only their order is judged. The sigmoid changes it where it rounds: in fp32 it makes ties of
        different logits, and from 17 on of all.
        """
        logits: Tensor = model(*batch[:2])
        return logits

    def kept(self, prediction: Tensor, batch: ClickBatch) -> dict[str, Column]:
        """The label and the logit, in fp32, which is what `Auc` orders by."""
        labels = batch[2].to(torch.int8)
        return {"label": labels.cpu().numpy(), "score": prediction.float().cpu().numpy()}

    def metric(self) -> Auc:
        """Share of (clicked, not clicked) pairs in the right order."""
        return Auc()
