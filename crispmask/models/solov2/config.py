"""The sizes and constants of SOLOv2. No torch here: tables are shown without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from crispmask.config import DecodeConfig

STRIDES = (8, 8, 16, 32, 32)
"""Input pixels per step of the five levels the grids look at."""

BACKBONE_STRIDES = (4, 8, 16, 32)
"""Input pixels per step of the maps the pyramid is made of."""

PUBLISHED_GRIDS = (40, 36, 24, 16, 12)
"""S, cells per side of each level. Source: arXiv:2003.10152, the implementation details."""

PUBLISHED_RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))
"""Square root of the box area each level learns from, pixels, both ends included."""

REFERENCE_IMGSZ = 1280
"""Longest side the published ranges are taken for; they scale with the image size."""

LEAST_SCALE = 0.5
"""Of the ranges. A level begins at 6 steps of its features as published; with less than 3 an
instance is hardly resolved there, and training on small images takes twice as long."""


@dataclass(frozen=True)
class Solov2Config:
    """One SOLOv2.

    Attributes:
        backbone: timm name.
        fpn_channels: channels of the pyramid.
        head_channels: channels inside the class and kernel branches.
        mask_channels: channels inside the mask branch.
        kernel_channels: D, channels of the mask features and weights of one kernel.
        num_convs: 3x3 convolutions of the class and kernel branches.
        grids: S of each level.
        scale_ranges: sizes of instances each level learns from, pixels.
        batch: images per step when none is given.
    """

    backbone: str
    fpn_channels: int
    head_channels: int
    mask_channels: int
    kernel_channels: int
    num_convs: int = 4
    grids: tuple[int, ...] = PUBLISHED_GRIDS
    scale_ranges: tuple[tuple[float, float], ...] = PUBLISHED_RANGES
    batch: int = 8


def _size(backbone: str, fpn: int, mask: int, batch: int) -> Solov2Config:
    return Solov2Config(backbone, fpn, fpn, mask, mask, batch=batch)


SIZES: Mapping[str, Solov2Config] = MappingProxyType(
    {
        "nano": _size("resnet18", fpn=128, mask=64, batch=8),
        "small": _size("resnet34", fpn=192, mask=96, batch=6),
        "medium": _size("resnet50", fpn=256, mask=128, batch=4),
        "large": _size("resnet101", fpn=384, mask=256, batch=2),
    }
)
"""The sizes users choose from."""

_LIGHT_RANGES = ((1, 56), (28, 112), (56, 224), (112, 448), (224, 896))

LAYOUTS: Mapping[str, Solov2Config] = MappingProxyType(
    {
        "r50": Solov2Config("resnet50", 256, 512, 128, 256, batch=4),
        "r101": Solov2Config("resnet101", 256, 512, 128, 256, batch=2),
        "light-r18": Solov2Config("resnet18", 256, 256, 128, 128, 2, scale_ranges=_LIGHT_RANGES),
        "light-r34": Solov2Config("resnet34", 256, 256, 128, 128, 2, scale_ranges=_LIGHT_RANGES),
        "light-r50": Solov2Config("resnet50", 256, 256, 128, 128, 2, scale_ranges=_LIGHT_RANGES),
    }
)
"""The layouts MMDetection published weights for."""


def grids_for(imgsz: int) -> tuple[int, ...]:
    """The published grids, none with cells smaller than a step of the finest level."""
    return tuple(min(S, imgsz // STRIDES[0]) for S in PUBLISHED_GRIDS)


def ranges_for(imgsz: int) -> tuple[tuple[float, float], ...]:
    """The published ranges at the scale of the image, open at both ends.

    They follow the image down to `LEAST_SCALE`: the features of a level do not shrink with it.
    """
    scale = max(LEAST_SCALE, imgsz / REFERENCE_IMGSZ)
    ranges = [(low * scale, high * scale) for low, high in PUBLISHED_RANGES]
    ranges[0] = (0.0, ranges[0][1])
    ranges[-1] = (ranges[-1][0], float("inf"))
    return tuple(ranges)


PRESETS: Mapping[str, DecodeConfig] = MappingProxyType(
    {
        "default": DecodeConfig(conf=0.25, candidate_conf=0.1, pre_nms=500),
        "val": DecodeConfig(conf=0.001, candidate_conf=0.05, pre_nms=500),
        "mmdet": DecodeConfig(conf=0.05, candidate_conf=0.1, pre_nms=500, pre_masks=None),
    }
)
"""Decode settings; `mmdet` equals MMDetection's test_cfg."""
