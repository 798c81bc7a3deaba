"""Images placed on a canvas that is never painted, and their way from there to the output.

A mosaic of four images covers four times the area that is left of it after cropping. So the
canvas is only a frame of coordinates: every image is warped once, from its own pixels to
those of the output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.augment.affine import compose, invert
from crispmask.geometry.letterbox import fit_size, resize_image
from crispmask.geometry.polygons import clip_polygons, polygons_to_boxes, transform_polygons
from crispmask.types import Polygons, Sample, Size

GREY = 114
"""Value of pixels that no image covers, in all channels; as Ultralytics pads."""


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

    def matrix(self, own_size: Size) -> NDArray[np.float64]:
        """The (2, 3) map to canvas pixels from those of the image when it has `own_size`."""
        (height, width), (x, y) = self.size, self.offset
        return np.array([[width / own_size[1], 0, x], [0, height / own_size[0], y]])


def whole_tile(sample: Sample, imgsz: int) -> Tile:
    """The letterboxed sample: its longest side is `imgsz`, its corner that of the canvas."""
    height, width = size = fit_size(sample.image.shape[:2], imgsz)
    return Tile(sample, size, offset=(0, 0), region=(0, 0, width, height))


def render(tiles: Sequence[Tile], matrix: NDArray[np.float64], imgsz: int) -> Sample:
    """Warps tiles with their instances from the canvas to the output.

    Args:
        tiles: placed samples whose regions do not overlap; the first one gives the index.
        matrix: (2, 3) map from canvas to output, continuous pixels.
        imgsz: side of the output.
    """
    image = np.full((imgsz, imgsz, 3), GREY, dtype=np.uint8)
    polygons: Polygons = ()
    labels = [np.zeros(0, dtype=np.int64)]
    for tile in tiles:
        _paint(image, tile, matrix)
        visible, kept = _place_instances(tile, matrix, imgsz)
        polygons += visible
        labels.append(tile.sample.labels[kept])
    return Sample(image, polygons, np.concatenate(labels), tiles[0].sample.index)


def _paint(image: NDArray[np.uint8], tile: Tile, matrix: NDArray[np.float64]) -> None:
    """Writes the pixels of `image` whose centres come from the region of the tile."""
    columns, top = _columns_inside(tile.region, matrix, image.shape[0])
    if not len(columns):
        return
    left, right = columns[:, 0].min(), columns[:, 1].max()
    source = _at_fitting_size(tile, matrix)
    to_source = invert(compose(matrix, tile.matrix(source.shape[:2])))
    # OpenCV counts from the centre of the first pixel: half a pixel apart from our frame on
    # both sides. It starts from the corner of the part we look at.
    to_source[:, 2] += to_source[:, :2] @ np.array([left + 0.5, top + 0.5]) - 0.5
    warped = cv2.warpAffine(
        source,
        to_source,
        (int(right - left), len(columns)),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    x = np.arange(left, right)
    inside = (x >= columns[:, :1]) & (x < columns[:, 1:])
    view = image[top : top + len(columns), left:right]
    cv2.copyTo(warped, inside.view(np.uint8), view)


def _columns_inside(
    region: tuple[int, int, int, int], matrix: NDArray[np.float64], imgsz: int
) -> tuple[NDArray[np.int64], int]:
    """The output pixels whose centres come from a region of the canvas.

    Tiles that share a border share the numbers that decide here, so every pixel belongs to
    exactly one of them.

    Returns:
        (rows, 2) first column inside and first one after it, and the first row. Rows above
        and below the region are left out.
    """
    to_canvas = invert(matrix)
    y = np.arange(imgsz) + 0.5
    low, high = np.full(imgsz, -np.inf), np.full(imgsz, np.inf)
    for axis in (0, 1):
        slope = to_canvas[axis, 0]
        start = to_canvas[axis, 1] * y + to_canvas[axis, 2]
        first, last = region[axis], region[axis + 2]
        if slope == 0:  # the whole row is on one side
            low[(start < first) | (start >= last)] = np.inf
            continue
        # Both limits as columns, in order: inside is first <= slope * x + start < last.
        limits = sorted((first, last), reverse=bool(slope < 0))
        low = np.maximum(low, (limits[0] - start) / slope)
        high = np.minimum(high, (limits[1] - start) / slope)
    columns = np.ceil(np.stack([low, high], axis=1) - 0.5).clip(0, imgsz).astype(np.int64)
    rows = np.flatnonzero(columns[:, 0] < columns[:, 1])
    if not len(rows):
        return columns[:0], 0
    return columns[rows[0] : rows[-1] + 1], int(rows[0])


def _at_fitting_size(tile: Tile, matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The image of the tile, resized where a warp alone would not do."""
    image = tile.sample.image
    if np.array_equal(matrix[:, :2], np.eye(2)):
        # Moved only: resized as for validation, so that no augmentation changes no pixel.
        return resize_image(image, tile.size)
    scale = math.sqrt(abs(np.linalg.det(compose(matrix, tile.matrix(image.shape[:2]))[:, :2])))
    if scale > 0.5:
        return image
    # Interpolation between neighbours would skip pixels.
    factor = int(1 / scale)
    height, width = image.shape[:2]
    return resize_image(image, (max(1, height // factor), max(1, width // factor)))


def _place_instances(
    tile: Tile, matrix: NDArray[np.float64], imgsz: int
) -> tuple[Polygons, NDArray[np.bool_]]:
    """The instances of a tile that are still worth learning, in output pixels.

    Kept is a box above 2 px in width and height, with sides below 100 to 1, and with more
    than 1 % of the area it had on the canvas, scaled: Ultralytics' rule for polygons.

    Returns:
        The kept instances, and (N,) which ones they are.
    """
    x1, y1, x2, y2 = tile.region
    to_region = tile.matrix(tile.sample.image.shape[:2])
    to_region[:, 2] -= (x1, y1)
    in_region = clip_polygons(
        transform_polygons(tile.sample.polygons, to_region), (y2 - y1, x2 - x1)
    )
    to_output = compose(matrix, np.array([[1.0, 0, x1], [0, 1, y1]]))
    placed = clip_polygons(transform_polygons(in_region, to_output), (imgsz, imgsz))
    before, after = polygons_to_boxes(in_region), polygons_to_boxes(placed)
    sides = after[:, 2:] - after[:, :2]
    full_area = (before[:, 2:] - before[:, :2]).prod(axis=1) * abs(np.linalg.det(matrix[:, :2]))
    kept = (
        (sides > 2).all(axis=1)
        & (sides.max(axis=1) < 100 * sides.min(axis=1))
        & (sides.prod(axis=1) > 0.01 * full_area)
    )
    return tuple(parts for parts, keep in zip(placed, kept, strict=True) if keep), kept
