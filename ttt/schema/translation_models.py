"""Models that translate, and how they are optimized: settings and their rules.

Defaults are those of a paper or of MLPerf's reference; what a setting means is said where it is
used.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ttt.schema.rules import not_positive


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
        counts = ("encoder_layers", "decoder_layers", "width", "heads", "feedforward")
        yield from not_positive("model", {name: getattr(self, name) for name in counts})
        shares = ("dropout", "attention_dropout", "relu_dropout")
        yield from _not_a_share("model", {name: getattr(self, name) for name in shares})
        parts = self.heads * (2 if self.heads % 2 else 1)  # half of the width are sines
        if self.heads > 0 and self.width % parts:
            near = max(parts, round(self.width / parts) * parts)
            yield (
                f"model.width={self.width} does not suit model.heads={self.heads}; allowed: even"
                f" multiples of the heads, as {near}; model.width={near}"
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
        yield from not_positive("model", {"width": self.width})
        yield from _not_a_share("model", {"dropout": self.dropout})
        if self.layers < 2:
            yield f"model.layers={self.layers} is not allowed; allowed: 2 or more; model.layers=2"


@dataclass
class AdamConfig:
    """Adam; see `ttt.optim.adam`."""

    _target_: str = "ttt.optim.adam.build"
    name: str = "adam"  # as logs say it
    lr: float = 0.001  # peak
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1.0e-8
    weight_decay: float = 0.0


@dataclass
class InverseSqrtConfig:
    """A line up, then down with the root of time; see `ttt.optim.schedules_text.InverseSqrt`."""

    _target_: str = "ttt.optim.schedules_text.InverseSqrt"
    warmup_steps: int = 4000  # updates until the peak; 0: the first has it

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        if self.warmup_steps < 0:
            yield _below_zero("warmup_steps", self.warmup_steps)


@dataclass
class GnmtScheduleConfig:
    """An exponential up, a plateau, stairs down; see `ttt.optim.schedules_text.Gnmt`.

    The defaults are those of NVIDIA's v0.7 entry on a DGX A100 (global batch 3,072, base 2.875e-3).
    """

    _target_: str = "ttt.optim.schedules_text.Gnmt"
    warmup_steps: int = 200
    remain_steps: int = 4054  # updates before the first stair
    decay_interval: int = 506  # updates on each stair
    decay_steps: int = 4  # stairs
    decay_factor: float = 0.5  # of a stair to the one before

    def problems(self) -> Iterator[str]:
        """What is wrong with the schedule."""
        yield from not_positive(
            "schedule",
            {"decay_interval": self.decay_interval, "decay_factor": self.decay_factor},
        )
        for name in ("warmup_steps", "decay_steps"):
            if getattr(self, name) < 0:
                yield _below_zero(name, getattr(self, name))
        if self.remain_steps < self.warmup_steps:
            yield (
                f"schedule.remain_steps={self.remain_steps} is before the end of the warm-up;"
                f" allowed: schedule.warmup_steps={self.warmup_steps} or more;"
                f" schedule.remain_steps={self.warmup_steps}"
            )


def _below_zero(name: str, value: int) -> str:
    return f"schedule.{name}={value} is not allowed; allowed: 0 or more; schedule.{name}=0"


def _not_a_share(group: str, values: dict[str, float]) -> Iterator[str]:
    for name, value in values.items():
        if not 0 <= value < 1:
            yield (
                f"{group}.{name}={value:g} is not allowed; allowed: 0 to below 1; {group}.{name}=0"
            )
