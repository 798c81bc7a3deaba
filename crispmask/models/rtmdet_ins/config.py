"""The sizes and constants of RTMDet-Ins. No torch here: tables are shown without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from crispmask.config import DecodeConfig

STRIDES = (8, 16, 32)
"""Input pixels per step of the three levels."""

NUM_PROTOTYPES = 8
"""Channels of the mask features."""

DYNAMIC_LAYERS = ((8, NUM_PROTOTYPES + 2), (8, 8), (1, 8))
"""(out, in) channels of the dynamic 1x1 convolutions that turn features into a mask."""

NUM_KERNEL_WEIGHTS = sum(o * i + o for o, i in DYNAMIC_LAYERS)
"""D, weights and biases predicted per prior: 169."""


@dataclass(frozen=True)
class RTMDetInsConfig:
    """One RTMDet-Ins.

    Attributes:
        backbone: timm name.
        channels: channels of the neck's levels and of the head.
        num_blocks: blocks in each CSP stage of the neck.
        depth: depth multiplier of the backbone, for the table.
        width: width multiplier of the backbone, for the table.
        batch: images per step when none is given.
    """

    backbone: str
    channels: int
    num_blocks: int
    depth: float
    width: float
    batch: int = 4


SIZES: Mapping[str, RTMDetInsConfig] = MappingProxyType(
    {
        "tiny": RTMDetInsConfig("cspnext_tiny", 96, 1, 0.167, 0.375, batch=10),
        "small": RTMDetInsConfig("cspnext_s", 128, 1, 0.33, 0.5, batch=8),
        "medium": RTMDetInsConfig("cspnext_m", 192, 2, 0.67, 0.75, batch=6),
        "large": RTMDetInsConfig("cspnext_l", 256, 3, 1.0, 1.0, batch=4),
    }
)
"""The sizes users choose from: the official tiny, s, m and l."""

LAYOUTS: Mapping[str, RTMDetInsConfig] = MappingProxyType(
    {
        "s": SIZES["small"],
        "m": SIZES["medium"],
        "l": SIZES["large"],
        "x": RTMDetInsConfig("cspnext_x", 320, 4, 1.33, 1.25, batch=2),
    }
)
"""Official names and sizes beyond those of the table."""

PRESETS: Mapping[str, DecodeConfig] = MappingProxyType(
    {
        "default": DecodeConfig(conf=0.25, candidate_conf=0.05),
        "val": DecodeConfig(conf=0.001, candidate_conf=0.001),
        "mmdet": DecodeConfig(conf=0.05, candidate_conf=0.05),
    }
)
"""Decode settings; `mmdet` equals MMDetection's test_cfg."""
