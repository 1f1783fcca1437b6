"""Accuracy of masked words, counted in integers so that it does not depend on the processes.

Shape suffixes: B batch, P predictions of a sequence, V vocabulary.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ttt.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ttt.data.masked import MaskedBatch
    from ttt.protocols import World


class MaskedAccuracy:
    """Share of the masked words that are predicted, over all evaluation samples together.

    That is MLPerf's `mlm_accuracy` for BERT, with the weights of the samples as tf.metrics.accuracy
    has them. A place whose logits hold a NaN counts as wrong.
    """

    name = "masked_accuracy"

    def __init__(self) -> None:
        self._counts: list[Tensor] = []  # of each batch: right words, and all; int64 [2]
        self._samples = 0

    def details(self) -> dict[str, str]:
        """Nothing: the name says it all."""
        return {}

    def update(self, prediction: Tensor, batch: MaskedBatch) -> None:
        """Count one batch on its device; the host does not wait.

        Args:
            prediction: The words with the largest logits, int64 [B, P]; -1 where there is none.
            batch: With the right words and their weights.
        """
        _, _, _, _, labels_BP, weights_BP, _ = batch
        counted_BP = weights_BP > 0
        right_BP = (prediction == labels_BP) & counted_BP
        self._counts.append(torch.stack((right_BP, counted_BP)).sum(dim=(1, 2)))
        self._samples += len(labels_BP)  # a shape, known to the host

    def compute(self, world: World) -> tuple[float, int]:
        """Quality over all processes and the samples it counts; this is where the host waits.

        Raises:
            DataError: No process has seen a masked word.
        """
        empty = torch.zeros(2, dtype=torch.int64, device=world.device)
        right, words = torch.stack([empty, *self._counts]).sum(dim=0).tolist()
        right, words, samples = world.replicas.sum([right, words, self._samples])
        if words == 0:
            raise DataError(
                "masked_accuracy of 0 masked words is undefined: check data.root and data.eval"
            )
        return right / words, samples
