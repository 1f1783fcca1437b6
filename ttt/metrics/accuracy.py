"""Top-1 accuracy, counted in integers so that it does not depend on the number of processes.

It knows nothing of the model or of how samples are divided: its caller sends every evaluation
sample exactly once. The sum over processes makes the quality the same float on each of them.

Shape suffixes: B batch, K classes.
"""
# ruff: noqa: N806 - capital letters name dimensions

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ttt.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ttt.protocols import World


class Top1:
    """Share of samples whose largest logit is at their label, a fraction in [0, 1].

    A label of -1 (an unreadable image) matches no prediction and counts as wrong, and so does a row
    of logits that holds a NaN: `argmax` would give that NaN's index, which may be the label's. Of
    equal logits `argmax` decides.
    """

    name = "top1"

    def __init__(self) -> None:
        self._correct: Tensor | int = 0
        self._total = 0

    def details(self) -> dict[str, str]:
        """Nothing: the name says it all."""
        return {}

    def update(self, prediction: Tensor, batch: tuple[Tensor, Tensor]) -> None:
        """Count one batch on its device; the host does not wait.

        Args:
            prediction: Logits [B, K].
            batch: Pixels, unused, and labels [B] as integers.
        """
        logits_BK, labels_B = prediction, batch[1]
        readable_B = ~logits_BK.isnan().any(dim=1)
        correct_B = (logits_BK.argmax(dim=1) == labels_B) & readable_B
        self._correct = self._correct + correct_B.sum(dtype=torch.int64)
        self._total += len(labels_B)  # a shape, known to the host

    def compute(self, world: World) -> tuple[float, int]:
        """Quality over all processes and the samples it counts; this is where the host waits.

        Raises:
            DataError: No process has seen a sample.
        """
        correct, total = world.replicas.sum([int(self._correct), self._total])
        if total == 0:
            raise DataError(
                "top1 of 0 evaluation samples is undefined: the evaluation set must hold at least "
                "1; check data.root and data.eval_samples"
            )
        return correct / total, total
