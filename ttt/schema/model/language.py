"""Models that read and write text: settings and their rules.

Defaults are those of MLPerf's reference; the model's class says what a setting means.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ttt.errors import fault
from ttt.flops import formulas
from ttt.flops.formulas import Lengths
from ttt.schema.rules import not_positive, uneven_heads


@dataclass
class LlamaConfig:
    """A decoder of the Llama family; see `ttt.models.llama`. Defaults: Llama 3.1 8B."""

    _target_: str = "ttt.models.llama.Llama"
    vocabulary: int | None = "${data.vocabulary}"  # type: ignore[assignment]
    sequence_length: int = "${data.sequence_length}"  # type: ignore[assignment]
    layers: int = 32
    width: int = 4096
    heads: int = 32  # of queries
    kv_heads: int = 8  # of keys and values
    feedforward: int = 14336  # inner width of the feed-forward networks
    norm_epsilon: float = 1.0e-5
    rope_theta: float = 500000.0
    rope_factor: float | None = 8.0  # of Llama 3.1's scaling; null: plain rotary positions
    rope_low: float = 1.0
    rope_high: float = 4.0
    rope_context: int = 8192
    initial_std: float = 0.02
    tied: bool = False  # the head's weights are the embedding's

    def problems(self) -> Iterator[str]:
        """What is wrong with the network."""
        names = "layers width heads kv_heads feedforward rope_theta rope_factor"
        names += " rope_low rope_high rope_context initial_std"
        yield from not_positive("model", self, names)
        # The numbers of a head turn in pairs.
        yield from uneven_heads(self.width, self.heads, 2 * self.heads)
        if min(self.heads, self.kv_heads) > 0 and self.heads % self.kv_heads:
            divisors = [each for each in range(1, self.heads + 1) if self.heads % each == 0]
            near = min(divisors, key=lambda each: abs(each - self.kv_heads))
            why = f"does not divide model.heads={self.heads}"
            allowed = ", ".join(map(str, divisors))
            yield fault("model.kv_heads", self.kv_heads, why, allowed=allowed, typed=str(near))
        sound = 0 < self.rope_low < math.inf and 0 < self.rope_high < math.inf
        if self.rope_factor is not None and sound and not self.rope_low < self.rope_high:
            allowed = f"below model.rope_high={self.rope_high:g}"
            yield fault("model.rope_low", self.rope_low, allowed=allowed, typed="1")

    def cut_by_tensor(self) -> dict[str, int]:
        """Settings that the processes of a tensor axis have to divide."""
        return {
            "model.heads": self.heads,
            "model.kv_heads": self.kv_heads,
            "model.feedforward": self.feedforward,
            "data.sequence_length": self.sequence_length,
        }

    def flop_per_sample(self, data: Any, lengths: Lengths | None, attended: float) -> float | None:
        """Tensor FLOPs of training one sequence; see `ttt.flops`."""
        return formulas.decoder(
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_width=self.width // self.heads,
            feedforward=self.feedforward,
            vocabulary=self.vocabulary or data.vocabulary,
            sequence=data.sequence_length,
            attended=attended,
        )
