"""The branches of RTMDet-Ins behind the neck.

Letters: B batch, C channels, K classes, D kernel weights, h and w size of a feature map.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crispmask.models.layers import ConvNormAct, init_normal, prior_bias, resize
from crispmask.models.rtmdet_ins.config import NUM_KERNEL_WEIGHTS, NUM_PROTOTYPES, STRIDES

NUM_CONVS = 2
"""3x3 convolutions before each prediction."""

SHARED_MOMENTUM = 1 - (1 - 0.1) ** 2
"""Momentum of the norms that class and box branch share: both branches of the published models
pass them, which takes the usual step of 0.1 twice. Here they are passed once."""


class Predictions(NamedTuple):
    """What a level predicts at each prior.

    Attributes:
        class_logits: (B, K, h, w).
        distances: (B, 4, h, w), left, top, right and bottom of the box, input pixels.
        kernels: (B, D, h, w).
    """

    class_logits: Tensor
    distances: Tensor
    kernels: Tensor


class Head(nn.Module):
    """Predicts class, box and mask kernel at every prior of every level.

    Class and box branches are one: the same convolutions and norms, the convolutions shared
    by all levels, the norms separate. Kernel convolutions are separate for each level.
    Source: RTMDet, arXiv:2212.07784, the shared detection head and the instance
    segmentation branch; that the box branch shares the class branch's layers is behaviour
    of MMDetection's RTMDetInsSepBNHead, with which the published weights were trained.

    Args:
        channels: C, channels of every level.
        num_classes: K.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        levels = range(len(STRIDES))
        self.shared_convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(NUM_CONVS)
        )
        self.shared_norms = nn.ModuleList(
            nn.ModuleList(
                nn.BatchNorm2d(channels, momentum=SHARED_MOMENTUM) for _ in range(NUM_CONVS)
            )
            for _ in levels
        )
        self.kernel_convs = nn.ModuleList(
            nn.Sequential(*(ConvNormAct(channels, channels) for _ in range(NUM_CONVS)))
            for _ in levels
        )
        self.class_logits = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in levels)
        self.distances = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in levels)
        self.kernels = nn.ModuleList(nn.Conv2d(channels, NUM_KERNEL_WEIGHTS, 1) for _ in levels)
        init_normal(self)
        for layers, bias in ((self.class_logits, prior_bias(0.01)), (self.distances, 1.0)):
            for layer in layers:  # distances start positive: their ReLU must not start dead
                assert isinstance(layer.bias, Tensor)
                nn.init.constant_(layer.bias, bias)

    def forward(self, levels: list[Tensor]) -> list[Predictions]:
        """Maps each level (B, C, h, w) to its predictions."""
        return [self._level(i, x) for i, x in enumerate(levels)]

    def _level(self, i: int, x: Tensor) -> Predictions:
        norms = self.shared_norms[i]
        assert isinstance(norms, nn.ModuleList)  # ModuleList forgets the type
        shared = x
        for conv, norm in zip(self.shared_convs, norms, strict=True):
            shared = F.silu(norm(conv(shared)), inplace=True)
        return Predictions(
            self.class_logits[i](shared),
            self.distances[i](shared).float().relu() * STRIDES[i],
            self.kernels[i](self.kernel_convs[i](x)),
        )


class MaskFeatures(nn.Module):
    """Fuses the three levels into the map the dynamic convolutions read.

    Source: RTMDet, arXiv:2212.07784, the mask feature head; the fusing convolution has
    neither norm nor activation, as in MMDetection.

    Args:
        channels: C, channels of every level.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fusion = nn.Conv2d(len(STRIDES) * channels, channels, 1)
        self.convs = nn.Sequential(*(ConvNormAct(channels, channels) for _ in range(4)))
        self.projection = nn.Conv2d(channels, NUM_PROTOTYPES, 1)
        init_normal(self)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps the levels (B, C, h, w) to (B, 8, h, w) at the size of the finest."""
        size = levels[0].shape[-2:]
        x = torch.cat([resize(level, size) for level in levels], dim=1)  # (B, 3 C, h, w)
        return self.projection(self.convs(self.fusion(x)))
