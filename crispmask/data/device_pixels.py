"""What OpenCV does to pixels, done by torch on any device: resizing and changing colours."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from crispmask.augment.colour import Tables
from crispmask.types import Size


def resize(image: Tensor, size: Size) -> Tensor:
    """(3, h, w) uint8 of an image (3, H, W) uint8, as `geometry.letterbox.resize_image` does it.

    Averages areas when it shrinks to half or less.
    """
    height, width = image.shape[1:]
    if max(height / size[0], width / size[1]) >= 2:
        down = _shares(height, size[0], image.device)  # (h, H)
        across = _shares(width, size[1], image.device)  # (w, W)
        resized = down @ image.double() @ across.T
    else:
        resized = F.interpolate(image.float()[None], size, mode="bilinear", align_corners=False)[0]
    return resized.round().clamp(0, 255).to(torch.uint8)


def _shares(old: int, new: int, device: torch.device) -> Tensor:
    """(new, old) float64: how much of each new pixel along a side each old one covers.

    In double precision, since a GPU may multiply matrices of others with 10 bits.
    """
    edges = torch.arange(new + 1, device=device, dtype=torch.float64) * (old / new)
    first = torch.arange(old, device=device, dtype=torch.float64)
    low, high = edges[:-1, None], edges[1:, None]
    covered = torch.minimum(high, first + 1) - torch.maximum(low, first)
    return covered.clamp(min=0) * (new / old)


def change_colours(image: Tensor, tables: Tables, levels: Tensor) -> Tensor:
    """The change of `augment.colour.change_colours` of an image (3, h, w) uint8.

    Args:
        image: RGB.
        tables: say what changes.
        levels: their (4, 256) levels on the device of the image.
    """
    if tables.changes_hsv:
        if tables.backwards:
            image = image.flip(0)
        hue, saturation, value = to_hsv(image)
        changed = (levels[0][hue], levels[1][saturation], levels[2][value])
        image = from_hsv(*changed)
        if tables.backwards:
            image = image.flip(0)
    if tables.changes_contrast:
        image = levels[3][image.int()]
    return image


def to_hsv(image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue 0 to 179, saturation and value 0 to 255, each (h, w) int32, of (3, h, w) RGB uint8.

    In whole numbers, with the reciprocals of OpenCV (modules/imgproc, its conversion of 8 bits).
    """
    red, green, blue = image.int()
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    per_value, per_spread = _reciprocals(image.device)
    half = 1 << 11
    saturation = (spread * per_value[value] + half) >> 12
    sector = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (sector * per_spread[spread] + half) >> 12
    return torch.where(hue < 0, hue + 180, hue), saturation, value


@cache
def _reciprocals(device: torch.device) -> tuple[Tensor, Tensor]:
    """(256,) int32 each, 12 bits behind the point: 255 / x, and 180 / (6 x); 0 for x = 0."""
    x = torch.arange(1, 256, dtype=torch.float64)
    tables = ((255 << 12) / x, (180 << 12) / (6 * x))
    both = [F.pad(table.round().int(), (1, 0)).to(device) for table in tables]
    return both[0], both[1]


def from_hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """(3, h, w) RGB uint8 of hue in steps of 2 degrees, saturation and value 0 to 255.

    A channel is V - V S min(k, 4 - k, 1), not below V - V S, with k the sixths of the circle from
    where it is lowest: 5, 3 and 1 sixths after the hue for red, green and blue. Rounded down, as
    releases of OpenCV for large vectors do; others round to the nearest.
    """
    sixths = hue.float() / 30
    bright, chroma = value.float(), value.float() * (saturation.float() / 255)
    channels = []
    for start in (5, 3, 1):
        k = (sixths + start) % 6
        channels.append(bright - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels).to(torch.uint8)
