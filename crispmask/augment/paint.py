"""Pixels of tiles in the output: one warp each, straight from the image to its place."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.augment.affine import Matrix, is_affine, translation
from crispmask.augment.colour import Colours, change_colours
from crispmask.augment.tiles import Tile
from crispmask.geometry.letterbox import resize_image
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Size

GREY = 114
"""Value of pixels that no image covers, in all channels; as Ultralytics pads."""

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
class _Piece:
    """One warp, ready to be done.

    Attributes:
        box: xyxy of the output pixels it fills.
        limits: (rows of the box, 2) first column that belongs to it and first one after it,
            counted from the left of the box; None: all of them.
        stencil: as in `Layer`.
        source: the pixels needed, (h, w, 3).
        to_source: from the box to `source`, continuous pixels.
    """

    box: Box
    limits: NDArray[np.int64] | None
    stencil: tuple[Part, ...] | None
    source: NDArray[np.uint8]
    to_source: Matrix


def paint(
    layers: Sequence[Layer],
    imgsz: int,
    colours: Colours | None = None,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """The layers over each other, later ones on top, on grey.

    Args:
        layers: what is painted.
        imgsz: side of the output.
        colours: change of colours. Images enlarged by the warp are changed before it, which
            takes fewer pixels; it differs only between neighbours of unlike colours.
        out: (imgsz, imgsz, 3) that the result is written to, if `colours` are given.

    Returns:
        (imgsz, imgsz, 3) uint8 RGB if `colours` are given; else a fourth channel without
        meaning is left, since OpenCV warps four channels more than twice as fast as three.
    """
    pieces = [piece for layer in layers if (piece := _prepare(layer, imgsz)) is not None]
    num_source = sum(math.prod(piece.source.shape[:2]) for piece in pieces)
    early = colours if colours and num_source < 0.9 * imgsz**2 else Colours()
    grey = change_colours(np.full((1, 1, 3), GREY, dtype=np.uint8), early, channels=4)
    # Filled as whole numbers of 32 bits, all channels of a pixel at once.
    pixels = np.empty((imgsz, imgsz), dtype=np.uint32) if colours is None else _scratch(imgsz)
    pixels.fill(grey.view(np.uint32).item())
    image = pixels.view(np.uint8).reshape(imgsz, imgsz, 4)
    for piece in pieces:
        _fill(image, piece, early)
    if colours is None:
        return image
    return change_colours(image, Colours() if early is colours else colours, out=out)


_own = threading.local()


def _scratch(imgsz: int) -> NDArray[np.uint32]:
    """(imgsz, imgsz) for a moment: fresh memory would be cleared by the system each time."""
    pixels: NDArray[np.uint32] | None = getattr(_own, "pixels", None)
    if pixels is None or len(pixels) != imgsz:
        pixels = _own.pixels = np.empty((imgsz, imgsz), dtype=np.uint32)
    return pixels


def _prepare(layer: Layer, imgsz: int) -> _Piece | None:
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
    limits = columns - box[0]
    full = limits[:, 0].max() <= 0 and limits[:, 1].min() >= box[2] - box[0]
    return _Piece(box, None if full else limits, layer.stencil, *_look(layer, box))


def _fill(image: NDArray[np.uint8], piece: _Piece, colours: Colours) -> None:
    """Writes the pixels of a piece into `image`."""
    left, top, right, bottom = piece.box
    view = image[top:bottom, left:right]
    source = change_colours(piece.source, colours, channels=4)
    if piece.stencil is None:
        kept = [] if piece.limits is None else _outside(view, piece.limits)
        _warp(source, piece.to_source, view)
        for block, pixels, outside in kept:
            cv2.copyTo(pixels, outside, block)
        return
    inside = _stencil(piece.stencil, piece.box)
    if piece.limits is not None:
        columns = np.arange(right - left)
        inside &= (columns >= piece.limits[:, :1]) & (columns < piece.limits[:, 1:])
    warped = np.empty((bottom - top, right - left, 4), dtype=np.uint8)
    _warp(source, piece.to_source, warped)
    cv2.copyTo(warped, inside.view(np.uint8), view)


_BAND = 128
"""Rows whose pixels outside a piece are kept together: many enough to be worth the calls, few
enough for the blocks along a slanting border to stay narrow."""

_RIM = 64
"""Columns that the border of a piece may recede before its rows are kept apart: at the tips."""


def _outside(
    view: NDArray[np.uint8], limits: NDArray[np.int64]
) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
    """What must not change where a piece fills its box: the rim, where borders slant.

    Args:
        view: (h, w, 4), the box.
        limits: (h, 2) first column that belongs to the piece and first one after it.

    Returns:
        Blocks of `view` with their pixels, and which of these lie outside the piece.
    """
    width = view.shape[1]
    kept = []
    tip = (limits[:, 0] > limits[:, 0].min() + _RIM) | (limits[:, 1] < limits[:, 1].max() - _RIM)
    turns = (np.flatnonzero(tip[1:] != tip[:-1]) + 1).tolist()
    for top, bottom in pairwise(sorted({*range(0, len(limits), _BAND), *turns, len(limits)})):
        rows = limits[top:bottom]
        first, end = int(rows[:, 0].max()), int(rows[:, 1].min())
        if first >= end:  # no column is inside in all rows
            first = end = width
        for start, stop in ((0, first), (end, width)):
            if start < stop:
                block = view[top:bottom, start:stop]
                columns = np.arange(start, stop)
                outside = (columns < rows[:, :1]) | (columns >= rows[:, 1:])
                kept.append((block, block.copy(), outside.view(np.uint8)))
    return kept


def _shrink(
    box: Box, columns: NDArray[np.int64], stencil: Sequence[Part]
) -> tuple[Box, NDArray[np.int64]]:
    """The part of a box of pixels that a stencil touches, and its rows of `columns`."""
    points = np.concatenate(stencil)
    low, high = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    left, top = max(box[0], int(low[0])), max(box[1], int(low[1]))
    right, bottom = min(box[2], int(high[0])), min(box[3], int(high[1]))
    return (left, top, right, bottom), columns[top - box[1] : max(bottom, top) - box[1]]


def _stencil(parts: Sequence[Part], box: Box) -> NDArray[np.bool_]:
    """Which pixels of a box have their centre inside the parts."""
    left, top, right, bottom = box
    corner = np.array([left, top], dtype=np.float32)
    moved = tuple(part - corner for part in parts)
    return rasterise((moved,), (bottom - top, right - left))[0]


def _look(layer: Layer, box: Box) -> tuple[NDArray[np.uint8], Matrix]:
    """The pixels that a box of the output sees, and the way to them from the box."""
    left, top, right, bottom = box
    source = _at_fitting_size(layer)
    to_source = np.linalg.inv(layer.matrix @ layer.tile.matrix(source.shape[:2]))
    return _crop(source, to_source @ translation(left, top), (bottom - top, right - left))


def _warp(source: NDArray[np.uint8], to_source: Matrix, out: NDArray[np.uint8]) -> None:
    """Fills `out` (h, w, 4) with the pixels of `source` (H, W, 4) it sees."""
    # OpenCV counts from the centre of the first pixel: half a pixel apart from our frame on
    # both sides.
    matrix = translation(-0.5, -0.5) @ to_source @ translation(0.5, 0.5)
    flags, border = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    size = out.shape[1::-1]
    if is_affine(matrix):
        cv2.warpAffine(source, matrix[:2], size, out, flags=flags, borderMode=border)
    else:
        cv2.warpPerspective(source, matrix, size, out, flags=flags, borderMode=border)


def _crop(
    source: NDArray[np.uint8], to_source: Matrix, size: Size
) -> tuple[NDArray[np.uint8], Matrix]:
    """The part of an image that an output of this size sees, with a margin."""
    height, width = size
    corners = to_source @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    if corners[2].min() <= 0:
        return source, to_source  # the horizon is in sight
    points = corners[:2] / corners[2]
    margin = 4  # beyond what interpolation looks at
    limits = np.array(source.shape[1::-1])
    low = (np.floor(points.min(axis=1)).astype(int) - margin).clip(0, limits - 1)
    high = (np.ceil(points.max(axis=1)).astype(int) + margin).clip(low + 1, limits)
    part = source[low[1] : high[1], low[0] : high[0]]
    return part, translation(-float(low[0]), -float(low[1])) @ to_source


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


def _at_fitting_size(layer: Layer) -> NDArray[np.uint8]:
    """The image of the layer, resized where a warp alone would not do."""
    image = layer.tile.sample.image
    if is_affine(layer.matrix) and np.array_equal(np.abs(layer.matrix[:2, :2]), np.eye(2)):
        # Moved or mirrored only: resized as for validation, so that no augmentation changes
        # no pixel.
        return resize_image(image, layer.tile.size)
    to_output = layer.matrix @ layer.tile.matrix(image.shape[:2])
    scale = math.sqrt(abs(np.linalg.det(to_output)))
    if scale > 0.5:
        return image
    # Interpolation between neighbours would skip pixels.
    factor = int(1 / scale)
    height, width = image.shape[:2]
    return resize_image(image, (max(1, height // factor), max(1, width // factor)))
