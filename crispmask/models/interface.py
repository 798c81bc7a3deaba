"""What every architecture offers: forward, loss, decode.

Letters: B batch, N instances found in one image, h and w mask pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from crispmask.config import DecodeConfig
from crispmask.models.masks import masks_to_boxes, paste_masks
from crispmask.types import Instances, Targets

OutputsT = TypeVar("OutputsT")


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


class Network(nn.Module, Generic[OutputsT]):
    """Base of both architectures: three methods, none of which changes type with the mode.

    `forward` never sees targets, `loss` never sees images, `detect` never sees either.
    """

    presets: ClassVar[Mapping[str, DecodeConfig]]
    """Decode settings by name: `default`, `val` and `mmdet` (MMDetection's test_cfg)."""

    pad_value: ClassVar[tuple[float, float, float]]
    """RGB pixel value beyond the image."""

    num_classes: int

    @abstractmethod
    def forward(self, images: Tensor) -> OutputsT:
        """Raw predictions.

        Args:
            images: (B, 3, H, W) RGB, uint8 or float in [0, 255]; H and W multiples of 32.
        """

    @abstractmethod
    def loss(self, outputs: OutputsT, targets: Targets) -> dict[str, Tensor]:
        """Weighted loss terms (`class`, `mask` and, if the model has boxes, `box`).

        Their sum is the objective. Finite and connected to every trained weight also when
        the batch has no instance.
        """

    @abstractmethod
    def detect(self, outputs: OutputsT, config: DecodeConfig) -> list[Detections]:
        """The instances of each image with their masks at the stride of the mask features."""

    @torch.no_grad()
    def decode(self, outputs: OutputsT, config: DecodeConfig) -> list[Instances]:
        """The instances of each image in input pixels, masks at input size."""
        results = []
        for found in self.detect(outputs, config):
            h, w = (side * found.mask_stride for side in found.soft_masks.shape[1:])
            results.append(to_instances(found, (h, w), (h, w)))
        return results


def to_instances(
    found: Detections,
    valid_size: tuple[int, int],
    original_size: tuple[int, int],
    names: tuple[str, ...] = (),
) -> Instances:
    """Instances in the frame of the original image.

    Args:
        found: detections of one image in input pixels.
        valid_size: (height, width) of the resized image inside the padded input.
        original_size: (height, width) of the image file.
        names: class names by label.
    """
    height, width = original_size
    chunks = [m.cpu().numpy() for m in paste_masks(found, valid_size, original_size)]
    masks = np.concatenate(chunks) if chunks else np.zeros((0, height, width), dtype=np.bool_)
    if found.boxes is None:
        boxes = masks_to_boxes(masks)
    else:
        boxes = scale_boxes(found.boxes, valid_size, original_size).cpu().numpy()
    return Instances(
        scores=found.scores.float().cpu().numpy(),
        labels=found.labels.cpu().numpy().astype(np.int64),
        boxes=boxes.astype(np.float32),
        masks=masks,
        names=names,
    )


def scale_boxes(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) of an image of `from_size`, moved to and clipped by one of `to_size`."""
    (h, w), (height, width) = from_size, to_size
    scale = boxes.new_tensor([width / w, height / h, width / w, height / h])
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum((boxes * scale).clamp(min=0), limit)


def total(losses: dict[str, Tensor]) -> Tensor:
    """The objective: the sum of the weighted terms."""
    return torch.stack(list(losses.values())).sum()


Metadata = dict[str, Any]
