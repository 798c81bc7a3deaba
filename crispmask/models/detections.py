"""What a network found in an image, and its way back to the pixels of the file.

Letters: N instances, h and w mask pixels, H and W image pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crispmask.geometry.boxes import masks_to_boxes
from crispmask.geometry.enlarge import runs_of_soft_masks
from crispmask.geometry.mask_runs import MaskRuns, array_if_small
from crispmask.types import Instances, Size

CHUNK_PIXELS = 1 << 23
"""Mask pixels worked on at a time: 32 MiB in float32, whatever the number of instances."""

CACHE_PIXELS = 1 << 21
"""The same on a CPU, 8 MiB: what stays in its cache is worked on twice as fast."""


def pixels_at_a_time(device: torch.device) -> int:
    """Mask pixels to work on at a time."""
    return CACHE_PIXELS if device.type == "cpu" else CHUNK_PIXELS


@dataclass(frozen=True, slots=True)
class Detections:
    """Instances of one image as the network sees them, masks still small.

    Attributes:
        scores: (N,) float32, descending.
        labels: (N,) int64.
        boxes: (N, 4) float32 xyxy in input pixels, or None: they follow from the masks.
        soft_masks: (N, h, w) float32 on a grid of `mask_stride` input pixels.
        threshold: a soft mask above it is inside the instance.
        mask_stride: input pixels per mask pixel.
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor | None
    soft_masks: Tensor
    threshold: float
    mask_stride: int

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: slice | Tensor) -> Detections:
        """The chosen instances."""
        boxes = None if self.boxes is None else self.boxes[index]
        return replace(
            self,
            scores=self.scores[index],
            labels=self.labels[index],
            boxes=boxes,
            soft_masks=self.soft_masks[index],
        )

    @property
    def input_size(self) -> Size:
        """(height, width) of the padded network input."""
        h, w = self.soft_masks.shape[1:]
        return h * self.mask_stride, w * self.mask_stride


def paste_masks(found: Detections, valid_size: Size, original_size: Size) -> MaskRuns:
    """The masks at the size of the image file, as runs; see `runs_of_soft_masks`.

    Args:
        found: detections of one image.
        valid_size: (height, width) of the resized image inside the padded input.
        original_size: (height, width) of the image file.
    """
    return runs_of_soft_masks(
        _soft_masks(found), found.threshold, found.mask_stride, valid_size, original_size
    )


def _soft_masks(found: Detections) -> Iterator[NDArray[np.float32]]:
    """One after the other, brought to the CPU a few at a time."""
    h, w = found.soft_masks.shape[1:]
    for chunk in found.soft_masks.split(max(1, CHUNK_PIXELS // max(h * w, 1))):
        yield from chunk.float().cpu().numpy()


def scale_boxes(boxes: Tensor, from_size: Size, to_size: Size) -> Tensor:
    """Boxes (N, 4) of an image of `from_size`, moved to and clipped by one of `to_size`."""
    (h, w), (height, width) = from_size, to_size
    scale = boxes.new_tensor([width / w, height / h, width / w, height / h])
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum((boxes * scale).clamp(min=0), limit)


def to_instances(
    found: Detections, valid_size: Size, original_size: Size, names: tuple[str, ...] = ()
) -> Instances:
    """Instances in the frame of the image file.

    Args:
        found: detections of one image in input pixels.
        valid_size: (height, width) of the resized image inside the padded input.
        original_size: (height, width) of the image file.
        names: class names by label.
    """
    masks = paste_masks(found, valid_size, original_size)
    if found.boxes is None:
        boxes = masks_to_boxes(masks)
    else:
        boxes = scale_boxes(found.boxes.float(), valid_size, original_size).cpu().numpy()
    return Instances(
        scores=found.scores.float().cpu().numpy(),
        labels=found.labels.cpu().numpy().astype(np.int64),
        boxes=boxes,
        masks=array_if_small(masks),
        names=names,
    )
