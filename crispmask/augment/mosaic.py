"""Four images around a random point.

The canvas is twice as wide and high as the output; as in Ultralytics
(ultralytics/data/augment.py) the point lies in its middle half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crispmask.augment.tiles import Tile
from crispmask.geometry.letterbox import fit_size
from crispmask.types import Sample


@dataclass(frozen=True, slots=True)
class Mosaic:
    """One drawn mosaic.

    Attributes:
        centre: xy of the point where the images meet, whole canvas pixels.
        partners: positions in the dataset of the second to fourth image.
    """

    centre: tuple[int, int]
    partners: tuple[int, int, int]


def draw_mosaic(imgsz: int, partners: Sequence[int], rng: np.random.Generator) -> Mosaic:
    """Draws the centre from the middle half of the canvas, and three of the partners."""
    x, y = rng.integers(imgsz // 2, imgsz + imgsz // 2, size=2, endpoint=True).tolist()
    second, third, fourth = rng.integers(len(partners), size=3).tolist()
    return Mosaic((x, y), (partners[second], partners[third], partners[fourth]))


def mosaic_tiles(samples: Sequence[Sample], mosaic: Mosaic, imgsz: int) -> list[Tile]:
    """Places four samples: top left, top right, bottom left, bottom right of the centre.

    Each has its letterboxed size and touches the centre with a corner; what is beyond the
    canvas is not visible.
    """
    tiles = []
    for k, sample in enumerate(samples):
        height, width = size = fit_size(sample.image.shape[:2], imgsz)
        x = mosaic.centre[0] - (width if k % 2 == 0 else 0)
        y = mosaic.centre[1] - (height if k < 2 else 0)
        region = (max(x, 0), max(y, 0), min(x + width, 2 * imgsz), min(y + height, 2 * imgsz))
        tiles.append(Tile(sample, size, (x, y), region))
    return tiles
