"""BERT: settings and their rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ttt.flops import formulas
from ttt.flops.formulas import Lengths
from ttt.schema.rules import not_positive, uneven_heads


@dataclass
class BertConfig:
    """Attention over masked sequences; see `ttt.models.bert`. Defaults: BERT-large."""

    _target_: str = "ttt.models.bert.Bert"
    vocabulary: int = "${data.vocabulary}"  # type: ignore[assignment]
    layers: int = 24
    width: int = 1024
    heads: int = 16
    feedforward: int = 4096  # inner width of the feed-forward networks
    positions: int = "${data.length}"  # type: ignore[assignment]  # the longest sequence
    segments: int = 2  # texts of a sequence that the model tells apart
    dropout: float = 0.1  # on embeddings and on what sublayers add
    attention_dropout: float = 0.1  # on attention weights
    initial: str | None = None  # file of a checkpoint to start from; null: random weights

    def problems(self) -> Iterator[str]:
        """What is wrong with the network."""
        counts = "layers width heads feedforward positions segments"
        yield from not_positive("model", self, counts)
        yield from uneven_heads(self.width, self.heads, self.heads)

    def cut_by_tensor(self) -> dict[str, int]:
        """Settings that the processes of a tensor axis have to divide."""
        return {"model.feedforward": self.feedforward}

    def flop_per_sample(self, data: Any, lengths: Lengths | None, attended: float) -> float | None:
        """Tensor FLOPs of training one sequence without its padding; see `ttt.flops`."""
        if lengths is None:
            return None
        return formulas.masked_encoder(
            layers=self.layers,
            width=self.width,
            feedforward=self.feedforward,
            vocabulary=self.vocabulary,
            lengths=lengths,
        )
