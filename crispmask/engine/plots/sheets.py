"""Contact sheets of what the model sees and of what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.draw import draw_instances, tile_images
from crispmask.geometry.letterbox import fit_size, resize_image
from crispmask.types import Instances, Size

if TYPE_CHECKING:
    from torch import Tensor

    from crispmask.geometry.packed import PackedMasks
    from crispmask.types import Batch

_CELL = 640
"""Longest side of an image on a sheet, pixels."""
_SMALLEST_CELL = 320
"""The same of the smallest images: in less, the tags would cover what they name."""
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
        pictures.append(
            _draw(
                np.ascontiguousarray(image[:height, :width]),
                _enlarged(masks.to("cpu"), targets.mask_stride, size),
                labels.cpu().numpy(),
                names,
                boxes.cpu().numpy(),
                None,
            )
        )
    _write_sheet(pictures, out_jpg)


def instances_sheet(
    images: Iterable[NDArray[np.uint8]],
    instances: Iterable[Instances],
    out_jpg: str | Path,
    with_scores: bool = True,
) -> None:
    """Draws the instances of each image.

    Args:
        images: each (H, W, 3) RGB, of any sizes.
        instances: of each image, in its pixels.
        out_jpg: the picture.
        with_scores: write them beside the names.
    """
    pictures = [
        _draw(
            image,
            found.masks,
            found.labels,
            found.names,
            found.boxes,
            found.scores if with_scores else None,
        )
        for image, found in zip(images, instances, strict=True)
    ]
    _write_sheet(pictures, out_jpg)


def _enlarged(masks: Tensor | PackedMasks, stride: int, size: Size) -> Iterator[NDArray[np.bool_]]:
    """Masks at the size of the image, one after the other."""
    height, width = size
    for i in range(len(masks)):
        mask = masks[i : i + 1][0].numpy()
        yield mask.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width]


def resize_mask(mask: NDArray[np.bool_], size: Size) -> NDArray[np.bool_]:
    """A mask at another size: (h, w) bool, set where at least half is."""
    if mask.shape == size:
        return mask
    pixels = mask.astype(np.uint8) * 255
    way = cv2.INTER_AREA if size < mask.shape else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size[::-1], interpolation=way) > 127)


def _draw(
    image: NDArray[np.uint8],
    masks: Iterable[NDArray[np.bool_]],
    labels: NDArray[np.int64],
    names: Sequence[str],
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32] | None,
) -> NDArray[np.uint8]:
    """Resizes first and draws then: lines and letters stay readable on the sheet."""
    size = drawn_size((image.shape[0], image.shape[1]))
    small = np.zeros((len(labels), *size), dtype=bool)
    for target, mask in zip(small, masks, strict=True):  # one at a time: the large ones add up
        target[:] = resize_mask(mask, size)
    boxes = boxes * (np.float32(max(size)) / np.float32(max(image.shape[:2])))
    return draw_instances(resize_image(image, size), small, labels, names, scores, boxes)


def drawn_size(size: Size) -> Size:
    """The size an image of `size` has on a sheet."""
    return fit_size(size, min(max(*size, _SMALLEST_CELL), _CELL))


def _write_sheet(pictures: Sequence[NDArray[np.uint8]], path: str | Path) -> None:
    columns = max(1, round(len(pictures) ** 0.5 + 0.49))
    sheet = tile_images(pictures, columns)
    encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )[1]
    Path(path).write_bytes(encoded.tobytes())  # imwrite fails silently, and on odd letters
