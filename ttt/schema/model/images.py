"""Models that classify images: settings and their rules.

Defaults are those of a paper or of MLPerf's reference; the model's class says what a setting means.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ttt.errors import fault
from ttt.flops import formulas
from ttt.flops.formulas import Lengths
from ttt.schema.choices import Norm
from ttt.schema.rules import not_positive


@dataclass
class ResNetSmallConfig:
    """The small residual network; see `ttt.models.resnet_small`."""

    _target_: str = "ttt.models.resnet_small.ResNetSmall"
    classes: int | None = "${data.classes}"  # type: ignore[assignment]
    widths: list[int] = field(default_factory=lambda: [64, 128, 256])
    blocks: list[int] = field(default_factory=lambda: [0, 1, 1])
    stem_stride: int = 1
    norm: Norm = Norm.batch
    norm_momentum: float = 0.4

    def problems(self) -> Iterator[str]:
        """What is wrong with the network."""
        yield from not_positive("model", self, "stem_stride")
        if not self.widths:
            yield fault("model.widths", [], allowed="a number a stage", typed="[64]")
        elif len(self.widths) != len(self.blocks):
            zeros = ",".join("0" * len(self.widths))
            why = f"and model.widths={self.widths} must be equally long, one number a stage"
            yield fault("model.blocks", self.blocks, why, typed=f"[{zeros}]")

    def flop_per_sample(self, data: Any, lengths: Lengths | None, attended: float) -> float | None:
        """Tensor FLOPs of training one image; see `ttt.flops`."""
        return formulas.resnet_small(
            size=data.size,
            classes=self.classes or data.classes,
            widths=self.widths,
            blocks=self.blocks,
            stem_stride=self.stem_stride,
        )


@dataclass
class ResNet50Config:
    """ResNet-50 v1.5; see `ttt.models.resnet50`."""

    _target_: str = "ttt.models.resnet50.ResNet50"
    classes: int | None = "${data.classes}"  # type: ignore[assignment]
    norm_momentum: float = 0.1
    norm_eps: float = 1e-5
    zero_gamma: bool = True

    def flop_per_sample(self, data: Any, lengths: Lengths | None, attended: float) -> float | None:
        """Tensor FLOPs of training one image; see `ttt.flops`."""
        return formulas.resnet50(size=data.size, classes=self.classes or data.classes)
