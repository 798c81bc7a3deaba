"""Contact sheets of what the model sees and of what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.draw import draw_instances, tile_images
from crispmask.types import Instances

if TYPE_CHECKING:
    from crispmask.types import Batch

_CELL = 640
"""Longest side of an image on a sheet, pixels."""
_JPEG_QUALITY = 92


def batch_sheet(
    batch: Batch, names: Sequence[str], out_jpg: str | Path, max_images: int = 16
) -> None:
    """Draws the images of a batch with their targets as the model gets them.

    Masks are on the grid of the mask loss, so at a stride of 4 their borders show steps of
    4 pixels. The padding at the right and bottom is cut off.
    """
    targets = batch.targets
    pictures = []
    images = batch.images[:max_images].cpu().numpy().transpose(0, 2, 3, 1)  # (B, H, W, 3)
    for image, size, (labels, boxes, masks) in zip(
        images, targets.valid_sizes, targets.per_image(), strict=False
    ):
        height, width = size
        full = masks.cpu().numpy()
        full = full.repeat(targets.mask_stride, axis=1).repeat(targets.mask_stride, axis=2)
        pictures.append(
            _draw(
                np.ascontiguousarray(image[:height, :width]),
                full[:, :height, :width],
                labels.cpu().numpy(),
                names,
                boxes.cpu().numpy(),
                None,
            )
        )
    _write_sheet(pictures, out_jpg)


def predictions_sheet(
    images: Sequence[NDArray[np.uint8]], instances: Sequence[Instances], out_jpg: str | Path
) -> None:
    """Draws the instances found in each image.

    Args:
        images: each (H, W, 3) RGB, of any sizes.
        instances: of each image, in its pixels.
        out_jpg: the picture.
    """
    pictures = [
        _draw(image, found.masks, found.labels, found.names, found.boxes, found.scores)
        for image, found in zip(images, instances, strict=True)
    ]
    _write_sheet(pictures, out_jpg)


def _draw(
    image: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    labels: NDArray[np.int64],
    names: Sequence[str],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32] | None,
) -> NDArray[np.uint8]:
    """Shrinks first and draws then: lines and letters stay readable on the sheet."""
    height, width = image.shape[:2]
    scale = min(1.0, _CELL / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        smaller = np.zeros((len(masks), size[1], size[0]), dtype=bool)
        for small, mask in zip(smaller, masks, strict=True):
            small[:] = (
                cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
            )
        masks, boxes = smaller, boxes * np.float32(scale)
    return draw_instances(image, masks, labels, names, scores, boxes)


def _write_sheet(pictures: Sequence[NDArray[np.uint8]], path: str | Path) -> None:
    columns = max(1, round(len(pictures) ** 0.5 + 0.49))
    sheet = tile_images(pictures, columns)
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )[1]
    Path(path).write_bytes(encoded.tobytes())  # imwrite fails silently, and on odd letters
