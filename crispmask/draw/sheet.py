"""Several images on one."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.draw.palette import Colour
from crispmask.types import Size


def tile_images(
    images: Sequence[NDArray[np.uint8]],
    columns: int,
    pad: int = 8,
    background: Colour = (255, 255, 255),
    cell: Size | None = None,
) -> NDArray[np.uint8]:
    """A contact sheet: images row by row in cells of one size, each centred in its cell.

    Args:
        images: each (H, W, 3) RGB, of any sizes. None at all give an empty cell.
        columns: cells per row; fewer if there are fewer images.
        pad: pixels around and between the cells.
        background: colour beside the images.
        cell: (height, width); larger images are shrunk to fit. Default: the largest image.
    """
    if cell is None:
        cell = (
            max((image.shape[0] for image in images), default=64),
            max((image.shape[1] for image in images), default=64),
        )
    columns = max(1, min(columns, len(images)))
    rows = max(1, -(-len(images) // columns))
    sheet = np.empty(
        (rows * (cell[0] + pad) + pad, columns * (cell[1] + pad) + pad, 3), dtype=np.uint8
    )
    sheet[:] = background
    for i, image in enumerate(images):
        image = _shrink(image, cell)
        height, width = image.shape[:2]
        y = pad + (i // columns) * (cell[0] + pad) + (cell[0] - height) // 2
        x = pad + (i % columns) * (cell[1] + pad) + (cell[1] - width) // 2
        sheet[y : y + height, x : x + width] = image
    return sheet


def _shrink(image: NDArray[np.uint8], cell: Size) -> NDArray[np.uint8]:
    """The image, at most as large as the cell, its ratio kept."""
    height, width = image.shape[:2]
    scale = min(cell[0] / height, cell[1] / width)
    if scale >= 1:
        return image
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
