"""Feature pyramids.

Letters: B batch, C channels, h and w size of a feature map.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crispmask.models.layers import ConvNormAct


class FPN(nn.Module):
    """Feature pyramid: lateral 1x1, top-down sum, 3x3, and one more level by subsampling.

    Source: arXiv:1612.03144, with biases and without norms as in MMDetection's FPN.

    Args:
        in_channels: channels of the backbone's maps, finest first.
        out_channels: C, channels of every level.
    """

    def __init__(self, in_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)
        self.outputs = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels
        )
        for layer in (*self.laterals, *self.outputs):
            assert isinstance(layer, nn.Conv2d)  # ModuleList forgets the type
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Maps the backbone's levels to as many (B, C, h, w) plus one of half the size."""
        levels = [layer(x) for layer, x in zip(self.laterals, features, strict=True)]
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + F.interpolate(
                levels[i], levels[i - 1].shape[-2:], mode="nearest"
            )
        levels = [layer(x) for layer, x in zip(self.outputs, levels, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], kernel_size=1, stride=2)]


class DepthwiseBlock(nn.Module):
    """3x3 convolution, then a 5x5 depthwise and a 1x1 convolution; no shortcut.

    Source: RTMDet, arXiv:2212.07784, the basic building block with large kernels.

    Args:
        channels: C, in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, channels, 3)
        self.depthwise = ConvNormAct(channels, channels, 5, groups=channels)
        self.pointwise = ConvNormAct(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to the same shape."""
        return self.pointwise(self.depthwise(self.conv1(x)))


class CSPLayer(nn.Module):
    """Cross-stage-partial stage: half the channels pass the blocks, half pass by.

    Source: CSPNet, arXiv:1911.11929, with RTMDet's blocks.

    Args:
        in_channels: channels of the input.
        out_channels: C, even.
        num_blocks: blocks in a row.
    """

    def __init__(self, in_channels: int, out_channels: int, num_blocks: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.main = ConvNormAct(in_channels, half, 1)
        self.short = ConvNormAct(in_channels, half, 1)
        self.blocks = nn.Sequential(*(DepthwiseBlock(half) for _ in range(num_blocks)))
        self.final = ConvNormAct(2 * half, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, in_channels, h, w) to (B, C, h, w)."""
        return self.final(torch.cat([self.blocks(self.main(x)), self.short(x)], dim=1))


class PAFPN(nn.Module):
    """Path aggregation: top-down, bottom-up, then every level at one width.

    Source: RTMDet, arXiv:2212.07784, the neck (CSPNeXtPAFPN in MMDetection).

    Args:
        in_channels: channels of the three levels of the backbone, finest first.
        out_channels: C, channels of every level.
        num_blocks: blocks in each CSP stage.
    """

    def __init__(self, in_channels: tuple[int, ...], out_channels: int, num_blocks: int) -> None:
        super().__init__()
        pairs = list(pairwise(in_channels))
        self.reduce = nn.ModuleList(ConvNormAct(high, low, 1) for low, high in reversed(pairs))
        self.top_down = nn.ModuleList(
            CSPLayer(2 * low, low, num_blocks) for low, _ in reversed(pairs)
        )
        self.downsample = nn.ModuleList(ConvNormAct(low, low, 3, stride=2) for low, _ in pairs)
        self.bottom_up = nn.ModuleList(CSPLayer(2 * low, high, num_blocks) for low, high in pairs)
        self.outputs = nn.ModuleList(ConvNormAct(c, out_channels, 3) for c in in_channels)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=5**0.5)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Maps the backbone's three levels to three (B, C, h, w) of the same sizes."""
        inner = [features[-1]]
        for low, reduce, block in zip(
            reversed(features[:-1]), self.reduce, self.top_down, strict=True
        ):
            inner[0] = reduce(inner[0])  # the reduced map also serves the way back up
            high = F.interpolate(inner[0], scale_factor=2, mode="nearest")
            inner.insert(0, block(torch.cat([high, low], dim=1)))
        levels = [inner[0]]
        for high, down, block in zip(inner[1:], self.downsample, self.bottom_up, strict=True):
            levels.append(block(torch.cat([down(levels[-1]), high], dim=1)))
        return [layer(x) for layer, x in zip(self.outputs, levels, strict=True)]
