"""ResNet-50 v1.5, the network of MLPerf's image classification.

The 50-layer column of table 1 in He et al. 2015 (arXiv:1512.03385), with the change that made it
v1.5 (Gross and Wilber 2016, "Training and investigating residual nets"). Where a stage halves the
resolution, the 3x3 convolution of its first block strides, and not the 1x1 before it. So no pixel
is skipped. 25,557,032 parameters for 1,000 classes.

It is a plain `nn.Module`: it knows nothing of processes, precision, losses or data sets. The same
layout in memory that its input has (channels last, if it is to be fast) goes through all layers.

Shape suffixes: B batch, C channels, H and W pixels, K classes.
"""
# ruff: noqa: N803, N806 - capital letters name dimensions

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ttt.protocols import Plan

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width of the 3x3 convolutions, blocks
EXPANSION = 4  # a block gives 4 times as many channels as its 3x3 convolution has

Norm = Callable[[int], nn.BatchNorm2d]


def _conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(
        channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
    )


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides) and 1x1 convolutions beside a shortcut; ReLU after the sum.

    Args:
        channels_in: Channels of the input.
        width: Channels of the 3x3 convolution; the block gives `EXPANSION` times as many.
        stride: Of the 3x3 convolution, and of the shortcut.
        norm: Makes a normalisation of so many channels.
    """

    def __init__(self, channels_in: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        channels_out = EXPANSION * width
        self.conv1, self.norm1 = _conv(channels_in, width, 1), norm(width)
        self.conv2, self.norm2 = _conv(width, width, 3, stride), norm(width)
        self.conv3, self.norm3 = _conv(width, channels_out, 1), norm(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                _conv(channels_in, channels_out, 1, stride), norm(channels_out)
            )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map [B, channels_in, H, W] to [B, EXPANSION * width, H / stride, W / stride]."""
        residual_BCHW = self.relu(self.norm1(self.conv1(x_BCHW)))
        residual_BCHW = self.relu(self.norm2(self.conv2(residual_BCHW)))
        residual_BCHW = self.norm3(self.conv3(residual_BCHW))
        result_BCHW: Tensor = self.relu(residual_BCHW + self.shortcut(x_BCHW))
        return result_BCHW


class ResNet50(nn.Module):
    """A 7x7 stem and max pool, 16 bottlenecks in four stages, a mean over pixels, a classifier.

    Weights begin as the MLPerf reference has them (mlcommons/training, image_classification).
    Convolutions are normal with variance 2 / fan-in (He et al. 2015, arXiv:1502.01852; the rules
    leave it open whether the tails are cut off). The classifier is normal with deviation 0.01.

    Args:
        classes: Number of classes, K.
        norm_momentum: Weight of the newest batch in batch norm's running statistics; 0.1 is 0.9
            where momentum means the weight of the old ones, as in the reference.
        norm_eps: Added to batch norm's variances.
        zero_gamma: Let the last norm of every block begin with a scale of 0, so that the block
            begins as its shortcut (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    """

    def __init__(
        self,
        classes: int,
        norm_momentum: float = 0.1,
        norm_eps: float = 1e-5,
        zero_gamma: bool = True,
    ) -> None:
        super().__init__()

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, momentum=norm_momentum, eps=norm_eps)

        channels = STAGES[0][0]
        self.stem = nn.Sequential(
            _conv(3, channels, 7, stride=2), norm(channels), nn.ReLU(inplace=True)
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        blocks: list[nn.Module] = []
        for stage, (width, count) in enumerate(STAGES):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Bottleneck(channels, width, stride, norm))
                channels = EXPANSION * width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)
        self._initialize(zero_gamma)

    def plan(self) -> Plan:
        """By bottlenecks."""
        return Plan(units=[f"blocks.{i}" for i in range(len(self.blocks))])

    def _initialize(self, zero_gamma: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            elif isinstance(module, Bottleneck) and zero_gamma:
                nn.init.zeros_(module.norm3.weight)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map normalised images [B, 3, H, W] to logits [B, K]."""
        x_BCHW = self.blocks(self.pool(self.stem(x_BCHW)))
        logits_BK: Tensor = self.head(x_BCHW.mean(dim=(2, 3)))
        return logits_BK
