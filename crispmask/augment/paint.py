"""Pixels of tiles in the output: one warp each, straight from the image to its place."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.augment.affine import Matrix, is_affine, translation
from crispmask.augment.colour import Colours, change_colours
from crispmask.augment.pieces import Layer, Piece, are_enlarged, cut_piece
from crispmask.geometry.letterbox import resize_image

GREY = 114
"""Value of pixels that no image covers, in all channels; as Ultralytics pads."""


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
    cut = [(layer, piece) for layer in layers if (piece := cut_piece(layer, imgsz)) is not None]
    is_early = colours is not None and are_enlarged([piece for _, piece in cut], imgsz)
    early = colours if colours is not None and is_early else Colours()
    grey = change_colours(np.full((1, 1, 3), GREY, dtype=np.uint8), early, channels=4)
    # Filled as whole numbers of 32 bits, all channels of a pixel at once.
    pixels = np.empty((imgsz, imgsz), dtype=np.uint32) if colours is None else _scratch(imgsz)
    pixels.fill(grey.view(np.uint32).item())
    image = pixels.view(np.uint8).reshape(imgsz, imgsz, 4)
    for layer, piece in cut:
        _fill(image, piece, layer.tile.sample.image, early)
    if colours is None:
        return image
    return change_colours(image, Colours() if is_early else colours, out=out)


_own = threading.local()


def _scratch(imgsz: int) -> NDArray[np.uint32]:
    """(imgsz, imgsz) for a moment: fresh memory would be cleared by the system each time."""
    pixels: NDArray[np.uint32] | None = getattr(_own, "pixels", None)
    if pixels is None or len(pixels) != imgsz:
        pixels = _own.pixels = np.empty((imgsz, imgsz), dtype=np.uint32)
    return pixels


def _fill(
    output: NDArray[np.uint8], piece: Piece, image: NDArray[np.uint8], colours: Colours
) -> None:
    """Writes the pixels of a piece, which come from `image`, into `output`."""
    left, top, right, bottom = piece.box
    view = output[top:bottom, left:right]
    x1, y1, x2, y2 = piece.window
    source = resize_image(image, piece.size)[y1:y2, x1:x2]
    source = change_colours(source, colours, channels=4)
    if piece.inside is None:
        kept = [] if piece.limits is None else _outside(view, piece.limits)
        _warp(source, piece.to_window, view)
        for block, pixels, outside in kept:
            cv2.copyTo(pixels, outside, block)
        return
    warped = np.empty((bottom - top, right - left, 4), dtype=np.uint8)
    _warp(source, piece.to_window, warped)
    cv2.copyTo(warped, piece.inside.view(np.uint8), view)


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
