"""Log-perplexity: how many nats a token of unseen text is worth on average; lower is better.

Every process gets the value of every sequence and adds them exactly (`math.fsum`), so that neither
the number of processes nor the order of sequences is in the result. Pure; knows no model.

Shape suffixes: B batch, S positions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ttt.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ttt.data.tokens import Tokens
    from ttt.protocols import World


class LogPerplexity:
    """Mean natural-log cross-entropy of all evaluated tokens: the logarithm, not its exponential.

    MLPerf calls it `log_perplexity` (mlcommons/training, small_llm_pretraining/nemo/README.md,
    "Quality metric"). A NaN of any token is the result.
    """

    name = "log_perplexity"

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._tokens = 0

    def details(self) -> dict[str, str]:
        """Nothing: the name says it all."""
        return {}

    def update(self, prediction: Tensor, batch: Tokens) -> None:
        """Take in one batch; the host does not wait.

        Args:
            prediction: Sums of negative log-likelihoods, float64 [B].
            batch: Its sequences; labels [B, S] say how many tokens each has.
        """
        self._sums.append(prediction)
        self._tokens += batch.labels.numel()  # a shape, known to the host

    def compute(self, world: World) -> tuple[float, int]:
        """Quality over all processes and its number of sequences; this is where the host waits.

        Raises:
            DataError: No process has seen a token.
        """
        empty = torch.empty(0, dtype=torch.float64, device=world.device)
        sums = world.replicas.concat(torch.cat([empty, *self._sums])).tolist()
        (tokens,) = world.replicas.sum([self._tokens])
        if tokens == 0:
            raise DataError(
                "log_perplexity of 0 evaluation tokens is undefined: the evaluation set must hold"
                " at least one sequence; check data.root and data.eval_samples"
            )
        return math.fsum(sums) / tokens, len(sums)
