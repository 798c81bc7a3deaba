"""What each warp fills and what it looks at: decided without touching a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.augment.affine import Matrix, is_affine, translation
from crispmask.augment.tiles import Tile
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Size

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Layer:
    """What one warp paints.

    Attributes:
        tile: its image and region.
        matrix: from the canvas to the output.
        stencil: parts of an instance, output pixels; nothing is painted outside. None: no limit.
    """

    tile: Tile
    matrix: Matrix
    stencil: tuple[Part, ...] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One warp, ready to be done.

    Attributes:
        position: of the image in its dataset.
        box: xyxy of the output pixels it fills.
        limits: (rows of the box, 2) first column that belongs to it and first one after it,
            counted from the left of the box; None: all of them.
        inside: bool, the shape of the box: what belongs to it, where a stencil decides; there
            are no `limits` then.
        size: (height, width) the image is resized to before.
        window: xyxy of what is looked at of the image, pixels of `size`.
        to_window: from the box to the window, continuous pixels of both.
    """

    position: int
    box: Box
    limits: NDArray[np.int64] | None
    inside: NDArray[np.bool_] | None
    size: Size
    window: Box
    to_window: Matrix

    @property
    def num_source(self) -> int:
        """Pixels of the window."""
        left, top, right, bottom = self.window
        return (right - left) * (bottom - top)


def cut_piece(layer: Layer, imgsz: int) -> Piece | None:
    """What a layer paints, None if nothing."""
    columns, top = columns_inside(layer.tile.region, layer.matrix, imgsz)
    if not len(columns):
        return None
    left, right = int(columns[:, 0].min()), int(columns[:, 1].max())
    box = (left, top, right, top + len(columns))
    if layer.stencil is not None:
        box, columns = _shrink(box, columns, layer.stencil)
        if box[0] >= box[2] or box[1] >= box[3]:
            return None
    left, top, right, bottom = box
    limits: NDArray[np.int64] | None = columns - left
    if (columns[:, 0] <= left).all() and (columns[:, 1] >= right).all():
        limits = None
    inside = None
    if layer.stencil is not None:
        inside = _inside(layer.stencil, box)
        if limits is not None:
            place = np.arange(right - left)
            inside &= (place >= limits[:, :1]) & (place < limits[:, 1:])
        limits = None
    size = _fitting_size(layer)
    to_source = np.linalg.inv(layer.matrix @ layer.tile.matrix(size)) @ translation(left, top)
    window = _window(size, to_source, (bottom - top, right - left))
    to_window = translation(-window[0], -window[1]) @ to_source
    return Piece(layer.tile.sample.index, box, limits, inside, size, window, to_window)


def are_enlarged(pieces: Sequence[Piece], imgsz: int) -> bool:
    """Whether the pieces look at clearly fewer pixels than the output has."""
    return sum(piece.num_source for piece in pieces) < 0.9 * imgsz**2


def _shrink(
    box: Box, columns: NDArray[np.int64], stencil: Sequence[Part]
) -> tuple[Box, NDArray[np.int64]]:
    """The part of a box of pixels that a stencil touches, and its rows of `columns`."""
    points = np.concatenate(stencil)
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    left, top = max(box[0], int(low[0])), max(box[1], int(low[1]))
    right, bottom = min(box[2], int(high[0])), min(box[3], int(high[1]))
    return (left, top, right, bottom), columns[top - box[1] : max(bottom, top) - box[1]]


def _inside(parts: Sequence[Part], box: Box) -> NDArray[np.bool_]:
    """Which pixels of a box have their centre inside the parts."""
    left, top, right, bottom = box
    corner = np.array([left, top], dtype=np.float32)
    moved = tuple(part - corner for part in parts)
    return rasterise((moved,), (bottom - top, right - left))[0]


def _window(size: Size, to_source: Matrix, box_size: Size) -> Box:
    """The part of an image of `size` that an output of `box_size` sees, with a margin."""
    height, width = box_size
    corners = to_source @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    if corners[2].min() <= 0:
        return (0, 0, size[1], size[0])  # the horizon is in sight
    points = corners[:2] / corners[2]
    margin = 4  # beyond what interpolation looks at
    limits = np.array(size[::-1])
    low = (np.floor(points.min(axis=1)).astype(int) - margin).clip(0, limits - 1)
    high = (np.ceil(points.max(axis=1)).astype(int) + margin).clip(low + 1, limits)
    return (int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def columns_inside(region: Box, matrix: Matrix, imgsz: int) -> tuple[NDArray[np.int64], int]:
    """The output pixels whose centres come from a region of the canvas.

    Tiles that share a border share the numbers that decide here, so every pixel belongs to
    exactly one of them.

    Returns:
        (rows, 2) first column inside and first one after it, and the first row. Rows above
        and below the region are left out.
    """
    x, y, depth = np.linalg.inv(matrix)
    # Inside is first <= position < last; times the depth, all four are linear in both.
    limits = np.stack([x - region[0] * depth, y - region[1] * depth])
    limits = np.concatenate([limits, [region[2] * depth - x, region[3] * depth - y]])
    slope = limits[:, :1]
    rest = limits[:, 1:2] * (np.arange(imgsz) + 0.5) + limits[:, 2:]  # (4, rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = -rest / slope
    low = np.where(slope > 0, crossing, -np.inf)
    high = np.where(slope < 0, crossing, np.inf)
    if not slope.all():  # whole rows are on one side; the last two exclude their border
        outside = np.concatenate([rest[:2] < 0, rest[2:] <= 0]) & (slope == 0)
        low[outside] = np.inf
    low, high = low.max(axis=0), high.min(axis=0)
    columns = np.ceil(np.stack([low, high], axis=1) - 0.5).clip(0, imgsz).astype(np.int64)
    rows = np.flatnonzero(columns[:, 0] < columns[:, 1])
    if not len(rows):
        return columns[:0], 0
    return columns[rows[0] : rows[-1] + 1], int(rows[0])


def _fitting_size(layer: Layer) -> Size:
    """The size an image is resized to where a warp alone would not do, else its own."""
    own = layer.tile.sample.image.shape[:2]
    if is_affine(layer.matrix) and np.array_equal(np.abs(layer.matrix[:2, :2]), np.eye(2)):
        # Moved or mirrored only: resized as for validation, so that no augmentation changes
        # no pixel.
        return layer.tile.size
    scale = math.sqrt(abs(np.linalg.det(layer.matrix @ layer.tile.matrix(own))))
    if scale > 0.5:
        return own
    # Interpolation between neighbours would skip pixels.
    factor = int(1 / scale)
    height, width = own
    return max(1, height // factor), max(1, width // factor)
