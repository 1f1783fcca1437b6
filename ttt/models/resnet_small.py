"""A small residual network for images of 8 to 32 pixels.

For small pictures and small machines: `widths` and `blocks` scale it from a network that two CPU
cores train in seconds to one that keeps a GPU busy. It is a plain `nn.Module`: it knows nothing of
processes, precision, losses or data sets.

The form is that of the ResNets made for short schedules (Page 2018, "How to train your ResNet", an
entry of DAWNBench). A stage is a convolution, a max pool, then residual blocks that keep width and
resolution. In few epochs it learns more than a ResNet whose blocks stride (He et al. 2015,
arXiv:1512.03385) for the same work.

Shape suffixes: B batch, C channels, H and W pixels, K classes.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ttt.errors import ConfigError, fault
from ttt.protocols import Plan

Norm = Literal["batch", "group"]
_CHANNELS_PER_GROUP = 16  # Wu and He 2018, arXiv:1803.08494, table 3


def _conv_norm_relu(
    channels_in: int, channels_out: int, norm: nn.Module, stride: int = 1, pool: int = 1
) -> nn.Sequential:
    """A 3x3 convolution, an optional max pool, a norm and a ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
    ]
    if pool > 1:
        # Before the norm, which then has a quarter of the work. ceil_mode keeps 1 pixel 1 pixel.
        layers.append(nn.MaxPool2d(pool, ceil_mode=True))
    return nn.Sequential(*layers, norm, nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions beside an identity; the ReLU stays inside the branch."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv1
        self.conv2 = conv2

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map [B, C, H, W] to the same shape."""
        residual_BCHW: Tensor = self.conv2(self.conv1(x_BCHW))
        return x_BCHW + residual_BCHW


class ResNetSmall(nn.Module):
    """A 3x3 stem, stages that each halve the resolution, a mean over pixels, a classifier.

    Args:
        classes: Number of classes, K.
        widths: Channels of the stem, which keeps its resolution, and of every stage after it, each
            of which halves it (an odd side is rounded up).
        blocks: Residual blocks after the stem and in each stage; as many numbers as `widths`.
        stem_stride: 1 keeps the input's resolution; 2 halves it at once, which saves three quarters
            of the work and suits 32 pixels.
        norm: "batch", or "group" for parts of a batch too small for batch statistics.
        norm_momentum: Weight of the newest batch in batch norm's running statistics. The default
            forgets 4 times as fast as PyTorch's: an evaluation in the first epochs, when weights
            still move fast, would else be of a mixture of old networks. Unused by group norm.

    Raises:
        ConfigError: `widths` and `blocks` differ in length, or `norm` is neither kind.
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int],
        blocks: Sequence[int],
        stem_stride: int = 1,
        norm: Norm = "batch",
        norm_momentum: float = 0.4,
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks):
            raise ConfigError(
                [
                    f"model.blocks has {len(blocks)} numbers and model.widths {len(widths)}: there "
                    f"must be as many; type model.blocks=[{','.join('0' * len(widths))}]"
                ]
            )

        def conv(channels_in: int, channels_out: int, stride: int = 1, pool: int = 1) -> nn.Module:
            layer = _norm(norm, channels_out, norm_momentum)
            return _conv_norm_relu(channels_in, channels_out, layer, stride, pool)

        self.stem = conv(3, widths[0], stride=stem_stride)
        stages: list[nn.Module] = []
        channels = widths[0]
        for index, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            if index > 0:
                stages.append(conv(channels, width, pool=2))
            stages += [Residual(conv(width, width), conv(width, width)) for _ in range(count)]
            channels = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)

    def plan(self) -> Plan:
        """By residual blocks and the convolutions between them."""
        return Plan(units=[f"stages.{i}" for i in range(len(self.stages))])

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalised images [B, 3, H, W] to logits [B, K]."""
        x_BCHW = self.stages(self.stem(x_BCHW))
        logits_BK: Tensor = self.head(x_BCHW.mean(dim=(2, 3)))
        return logits_BK


def _norm(kind: Norm, channels: int, momentum: float) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels, momentum=momentum)
    if kind == "group":
        return nn.GroupNorm(max(1, channels // _CHANNELS_PER_GROUP), channels)
    raise ConfigError([fault("model.norm", kind, allowed="batch, group", typed="batch")])
