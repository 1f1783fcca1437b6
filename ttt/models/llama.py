"""A decoder of the Llama family: reads tokens, gives the logits of the next one at every position.

The network of Touvron et al. 2023 (arXiv:2302.13971, section 2.2) with the grouped-query attention
and the rotary scaling of Llama 3.1 (Dubey et al. 2024, arXiv:2407.21783, section 3.2). Its layers
are in `ttt.models.llama_layers`. Initial weights are those of MLPerf's llama31_8b, which NeMo makes
(mlcommons/training, small_llm_pretraining/nemo): normal with one deviation. Of the layers that
write into the residual stream it is smaller by sqrt(2 x layers).

It is a plain `nn.Module`: it knows nothing of processes, precision, losses or text. Every
projection is a linear layer of its own, so that a tensor axis can cut each by heads.

Shape suffixes: B batch, S positions, D width, V vocabulary.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

import math

from torch import Tensor, nn

from ttt.models.llama_layers import Block, Rotary, Scaling
from ttt.protocols import Plan, Style


class Llama(nn.Module):
    """Blocks of attention and feed-forward network over an embedding, with a head of logits.

    Args:
        vocabulary: Token ids, V.
        sequence_length: Most positions of a sequence, S.
        layers: Blocks.
        width: Of every position between blocks, D.
        heads: Of queries.
        kv_heads: Of keys and values; each serves heads / kv_heads queries.
        feedforward: Inner width of the feed-forward networks.
        norm_epsilon: Added to the mean square in norms.
        rope_theta: Base of the rotary frequencies.
        rope_factor: By how much Llama 3.1 slows low frequencies down; None for plain rotary ones.
        rope_low: Frequencies with fewer turns than this within `rope_context` are slowed down.
        rope_high: Frequencies with more turns than this are kept.
        rope_context: Positions that were known before frequencies were scaled.
        initial_std: Standard deviation of initial weights.
        tied: Whether the head's weights are the embedding's.
    """

    def __init__(  # noqa: PLR0913 - each is one setting of the configuration
        self,
        *,
        vocabulary: int,
        sequence_length: int,
        layers: int = 32,
        width: int = 4096,
        heads: int = 32,
        kv_heads: int = 8,
        feedforward: int = 14_336,
        norm_epsilon: float = 1e-5,
        rope_theta: float = 500_000.0,
        rope_factor: float | None = 8.0,
        rope_low: float = 1.0,
        rope_high: float = 4.0,
        rope_context: int = 8192,
        initial_std: float = 0.02,
        tied: bool = False,
    ) -> None:
        super().__init__()
        scaling = rope_factor and Scaling(rope_factor, rope_low, rope_high, rope_context)
        self.embedding = nn.Embedding(vocabulary, width)
        self.rotary = Rotary(width // heads, sequence_length, rope_theta, scaling or None)
        self.blocks = nn.ModuleList(
            Block(width, heads, kv_heads, feedforward, norm_epsilon) for _ in range(layers)
        )
        self.norm = nn.RMSNorm(width, norm_epsilon)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self._begin(initial_std)
        if tied:
            self.head.weight = self.embedding.weight

    def _begin(self, std: float) -> None:
        """Draw the initial weights; norms begin with ones."""
        into_residual = std / math.sqrt(2 * len(self.blocks))
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                written = name.endswith(("output.weight", "down.weight"))
                nn.init.normal_(weight, std=into_residual if written else std)

    def plan(self) -> Plan:
        """Blocks are units; a tensor axis cuts heads, neurons, words and, in norms, positions."""
        column = ("attention.query", "attention.key", "attention.value", "mlp.gate", "mlp.up")
        styles: dict[str, Style] = {name: "column" for name in column}
        styles |= {"attention.output": "row", "mlp.down": "row"}
        styles |= {"attention_norm": "norm", "mlp_norm": "norm"}
        styles |= {"attention": "gather", "mlp": "gather"}
        units = [f"blocks.{number}" for number in range(len(self.blocks))]
        tensor = {f"{unit}.{name}": style for unit in units for name, style in styles.items()}
        tensor |= {"embedding": "table", "norm": "norm", "head": "logits"}
        return Plan(units=units, tensor=tensor)

    def forward(self, inputs_BS: Tensor) -> Tensor:
        """The logits of the token after each position, [B, S, V], from int64 [B, S]."""
        x_BSD = self.embedding(inputs_BS)
        turns = self.rotary(inputs_BS.shape[1])
        for block in self.blocks:
            x_BSD = block(x_BSD, turns)
        logits_BSV: Tensor = self.head(self.norm(x_BSD))
        return logits_BSV
