"""Images placed on a canvas that is never painted, and their instances in the output.

A mosaic of four images covers four times the area that is left of it after cropping. So the
canvas is only a frame of coordinates: `paint` warps every image once, from its own pixels to
those of the output, and polygons take the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.augment.affine import Matrix
from crispmask.geometry.letterbox import fit_size
from crispmask.geometry.polygons import (
    clip_polygons,
    clip_to_box,
    polygons_to_boxes,
    transform_polygons,
)
from crispmask.types import Polygons, Sample, Size


@dataclass(frozen=True, slots=True)
class Tile:
    """A sample placed on a canvas.

    Attributes:
        sample: the sample at its own size.
        size: (height, width) on the canvas.
        offset: xy of its top left corner on the canvas, whole pixels.
        region: xyxy of what is visible of it, canvas pixels.
    """

    sample: Sample
    size: Size
    offset: tuple[int, int]
    region: tuple[int, int, int, int]

    def matrix(self, own_size: Size) -> Matrix:
        """The map to canvas pixels from those of the image when it has `own_size`."""
        (height, width), (x, y) = self.size, self.offset
        return np.array([[width / own_size[1], 0, x], [0, height / own_size[0], y], [0, 0, 1]])

    def instances(self) -> Polygons:
        """What is visible of each instance, canvas pixels."""
        on_canvas = transform_polygons(
            self.sample.polygons, self.matrix(self.sample.image.shape[:2])
        )
        return clip_to_box(on_canvas, self.region)


def whole_tile(sample: Sample, imgsz: int) -> Tile:
    """The letterboxed sample: its longest side is `imgsz`, its corner that of the canvas."""
    height, width = size = fit_size(sample.image.shape[:2], imgsz)
    return Tile(sample, size, offset=(0, 0), region=(0, 0, width, height))


def place_instances(
    polygons: Polygons, matrix: Matrix, imgsz: int
) -> tuple[Polygons, NDArray[np.bool_]]:
    """Moves instances from the canvas to the output, and finds those still worth learning.

    Kept is a box above 2 px in width and height, with sides below 100 to 1, and with more
    than 1 % of the area it had on the canvas, scaled: Ultralytics' rule for polygons.

    Args:
        polygons: N instances, canvas pixels.
        matrix: from the canvas to the output.
        imgsz: side of the output.

    Returns:
        The kept instances, and (N,) which ones they are.
    """
    placed = clip_polygons(transform_polygons(polygons, matrix), (imgsz, imgsz))
    before, after = polygons_to_boxes(polygons), polygons_to_boxes(placed)
    sides = after[:, 2:] - after[:, :2]
    full_area = (before[:, 2:] - before[:, :2]).prod(axis=1) * abs(np.linalg.det(matrix))
    kept = (
        (sides > 2).all(axis=1)
        & (sides.max(axis=1) < 100 * sides.min(axis=1))
        & (sides.prod(axis=1) > 0.01 * full_area)
    )
    return tuple(parts for parts, keep in zip(placed, kept, strict=True) if keep), kept
