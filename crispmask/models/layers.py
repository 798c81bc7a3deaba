"""Building blocks both architectures use.

Letters: B batch, C channels, h and w size of a feature map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MakeNorm = Callable[[int], nn.Module]

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Mean colour of ImageNet, RGB in [0, 255], as MMDetection and torchvision subtract it."""

IMAGENET_STD = (58.395, 57.12, 57.375)
"""Its standard deviation per channel, likewise."""


def group_norm(channels: int) -> nn.Module:
    """Group normalisation in 32 groups; `channels` is a multiple of 32."""
    return nn.GroupNorm(32, channels)


class ConvNormAct(nn.Module):
    """Convolution without bias, normalisation, activation; keeps the size at stride 1.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the kernel, odd.
        stride: step of the convolution.
        groups: groups of the convolution.
        norm: makes the normalisation of a number of channels.
        act: the activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm: MakeNorm = nn.BatchNorm2d,
        act: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=kernel_size // 2,
            groups=groups,
            bias=False,
        )
        self.norm = norm(out_channels)
        self.act = act(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, out_channels, h / stride, w / stride)."""
        return self.act(self.norm(self.conv(x)))


class Normalise(nn.Module):
    """Turns RGB pixels in [0, 255] into the input of a backbone: (x - mean) / std.

    Args:
        mean: per channel, in [0, 255], order RGB.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: tuple[float, float, float] = IMAGENET_MEAN,
        std: tuple[float, float, float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps (B, 3, H, W) of any number type to float32 of the same shape."""
        return (images.float() - self.mean) / self.std


def coordinates(h: int, w: int, like: Tensor) -> Tensor:
    """Channels x and y, each from -1 to 1 inclusive: (1, 2, h, w), type and device of `like`."""
    x, y = (  # not by linspace: exporters want its length as a constant
        torch.arange(n, device=like.device, dtype=torch.float32) * (2 / (n - 1) if n > 1 else 0) - 1
        for n in (w, h)
    )
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)])[None].to(like.dtype)


def append_coordinates(features: Tensor) -> Tensor:
    """Appends the channels x and y: (B, C, h, w) to (B, C + 2, h, w)."""
    B, _, h, w = features.shape
    return torch.cat([features, coordinates(h, w, features).expand(B, -1, -1, -1)], dim=1)


def resize(features: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear to (height, width), pixel centres aligned."""
    if features.shape[-2:] == tuple(size):
        return features
    return F.interpolate(features, list(size), mode="bilinear", align_corners=False)


def init_normal(module: nn.Module, std: float = 0.01) -> None:
    """Fills the convolutions of a head with N(0, std) and their biases with 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def prior_bias(probability: float) -> float:
    """Bias of a class logit whose sigmoid is `probability` (arXiv:1708.02002, initialisation)."""
    return math.log(probability / (1 - probability))
