"""Models that translate: settings and their rules.

Defaults are those of a paper or of MLPerf's reference; the model's class says what a setting means.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ttt.errors import fault
from ttt.flops import formulas
from ttt.flops.formulas import Lengths
from ttt.schema.rules import not_positive, uneven_heads


@dataclass
class TransformerConfig:
    """Encoder and decoder of attention; see `ttt.models.transformer`. Defaults: "base"."""

    _target_: str = "ttt.models.transformer.Transformer"
    vocabulary: int | None = "${data.vocabulary}"  # type: ignore[assignment]
    encoder_layers: int = 6
    decoder_layers: int = 6
    width: int = 512
    heads: int = 8
    feedforward: int = 2048  # inner width of the feed-forward networks
    dropout: float = 0.1  # on embeddings and on what sublayers add
    attention_dropout: float = 0.1  # on attention weights
    relu_dropout: float = 0.1  # inside the feed-forward networks
    norm_first: bool = True  # norms before sublayers; false: after each sum, as in the paper

    def problems(self) -> Iterator[str]:
        """What is wrong with the network."""
        counts = "encoder_layers decoder_layers width heads feedforward"
        yield from not_positive("model", self, counts)
        parts = self.heads * (2 if self.heads % 2 else 1)  # half of the width are sines
        yield from uneven_heads(self.width, self.heads, parts)

    def cut_by_tensor(self) -> dict[str, int]:
        """Settings that the processes of a tensor axis have to divide."""
        return {"model.feedforward": self.feedforward}

    def flop_per_sample(self, data: Any, lengths: Lengths | None, attended: float) -> float | None:
        """Tensor FLOPs of training one sentence pair, without padding; see `ttt.flops`."""
        if lengths is None:
            return None
        return formulas.transformer(
            vocabulary=self.vocabulary or data.vocabulary,
            encoder_layers=self.encoder_layers,
            decoder_layers=self.decoder_layers,
            width=self.width,
            feedforward=self.feedforward,
            lengths=lengths,
            attended=attended,
        )


@dataclass
class GnmtConfig:
    """LSTMs with attention; see `ttt.models.gnmt`. Defaults: MLPerf's reference."""

    _target_: str = "ttt.models.gnmt.Gnmt"
    vocabulary: int | None = "${data.vocabulary}"  # type: ignore[assignment]
    layers: int = 4  # of the encoder and of the decoder each
    width: int = 1024
    dropout: float = 0.2  # on the input of every LSTM

    def problems(self) -> Iterator[str]:
        """What is wrong with the network."""
        yield from not_positive("model", self, "width")
        if self.layers < 2:
            yield fault("model.layers", self.layers, allowed="2 or more", typed="2")

    def flop_per_sample(self, data: Any, lengths: Lengths | None, attended: float) -> float | None:
        """Tensor FLOPs of training one sentence pair, without padding; see `ttt.flops`."""
        if lengths is None:
            return None
        return formulas.gnmt(
            vocabulary=self.vocabulary or data.vocabulary,
            layers=self.layers,
            width=self.width,
            lengths=lengths,
        )
