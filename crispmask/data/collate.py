"""Samples to batches: padding, rasterising, tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crispmask.augment.picture import Picture, Unpainted
from crispmask.geometry.letterbox import paste_image, round_up
from crispmask.geometry.packed import PackedMasks, rasterise_packed
from crispmask.geometry.polygons import clip_polygons, polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.types import Batch, Sample, Size, Targets

MULTIPLE = 32
"""Sides of the input are multiples of the largest stride."""

UNPACKED_STRIDE = 4
"""From this stride on masks travel as bool tensors. Finer ones are packed: 300 masks of
1280 x 1280 pixels take 59 MiB instead of 469."""


def collate(
    samples: Sequence[Sample],
    mask_stride: int,
    pad_value: tuple[float, float, float],
    original_sizes: Sequence[Size],
) -> Batch:
    """Joins samples to a batch as large as its highest and its widest image.

    Instances are clipped to their image. Those with nothing left inside are dropped; those too
    small for a mask pixel stay, with an empty mask.

    Args:
        samples: at least one.
        mask_stride: input pixels per mask pixel.
        pad_value: RGB of what is right of an image and below, rounded to whole numbers.
        original_sizes: (height, width) of the image file of each sample.
    """
    valid_sizes = tuple((s.image.shape[0], s.image.shape[1]) for s in samples)
    size = (
        round_up(max(height for height, _ in valid_sizes), MULTIPLE),
        round_up(max(width for _, width in valid_sizes), MULTIPLE),
    )
    red, green, blue = (round(channel) for channel in pad_value)
    images = _together(samples, size)
    copied = images is None
    if images is None:
        images = np.empty((len(samples), *size, 3), dtype=np.uint8)
    if copied:
        for image, sample in zip(images, samples, strict=True):
            paste_image(image, sample.image, (red, green, blue))
    return Batch(
        # (B, 3, H, W), in memory still channels last: as convolutions want it, without a copy
        images=torch.from_numpy(images.transpose(0, 3, 1, 2)),
        targets=_targets(samples, valid_sizes, size, mask_stride),
        indices=tuple(sample.index for sample in samples),
        original_sizes=tuple(original_sizes),
    )


@dataclass(frozen=True, slots=True)
class UnpaintedBatch:
    """A batch but for its pixels.

    Attributes:
        pictures: how those of each image come about.
        targets: as of `Batch`.
        indices: as of `Batch`.
        original_sizes: as of `Batch`.
    """

    pictures: tuple[Picture, ...]
    targets: Targets
    indices: tuple[int, ...]
    original_sizes: tuple[Size, ...]

    def painted(self, images: Tensor) -> Batch:
        """The batch with its images, (B, 3, H, W) uint8."""
        return Batch(images, self.targets, self.indices, self.original_sizes)

    def pin_memory(self) -> UnpaintedBatch:
        """The same batch with targets in page-locked memory; called by the data loader."""
        return replace(self, targets=self.targets.pin_memory())


def collate_unpainted(
    samples: Sequence[Unpainted], mask_stride: int, original_sizes: Sequence[Size]
) -> UnpaintedBatch:
    """Joins samples of one size, a multiple of 32; arguments as of `collate`."""
    size = (samples[0].picture.imgsz,) * 2
    return UnpaintedBatch(
        tuple(sample.picture for sample in samples),
        _targets(samples, (size,) * len(samples), size, mask_stride),
        tuple(sample.index for sample in samples),
        tuple(original_sizes),
    )


def _targets(
    samples: Sequence[Sample | Unpainted],
    valid_sizes: tuple[Size, ...],
    size: Size,
    mask_stride: int,
) -> Targets:
    """The instances of a batch whose images have `size` with their padding."""
    labels, boxes = [], []
    masks: list[Tensor] = []
    packed: list[PackedMasks] = []
    for sample, valid in zip(samples, valid_sizes, strict=True):
        clipped = clip_polygons(sample.polygons, valid)
        kept = np.array([bool(parts) for parts in clipped], dtype=bool)
        polygons = tuple(parts for parts in clipped if parts)
        labels.append(sample.labels[kept])
        boxes.append(polygons_to_boxes(polygons))
        if mask_stride >= UNPACKED_STRIDE:
            masks.append(torch.from_numpy(rasterise(polygons, size, mask_stride)))
        else:
            packed.append(rasterise_packed(polygons, size, mask_stride))
    return Targets(
        labels=torch.from_numpy(np.concatenate(labels)),
        boxes=torch.from_numpy(np.concatenate(boxes)),
        masks=torch.cat(masks) if masks else PackedMasks.cat(packed),
        counts=tuple(map(len, labels)),
        valid_sizes=valid_sizes,
        mask_stride=mask_stride,
    )


def _together(samples: Sequence[Sample], size: Size) -> NDArray[np.uint8] | None:
    """The images as one array, if they lie behind each other in one and need no padding."""
    images = samples[0].image.base
    if not isinstance(images, np.ndarray) or images.shape != (len(samples), *size, 3):
        return None
    places = [sample.image.__array_interface__["data"][0] for sample in samples]
    wanted = [image.__array_interface__["data"][0] for image in images]
    whole = all(sample.image.shape == (*size, 3) for sample in samples)
    return images if whole and images.flags.c_contiguous and places == wanted else None
