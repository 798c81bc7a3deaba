"""The values that travel between the rooms of the package.

Letters: B batch, N instances, K classes, V vertices, H and W pixels, h and w mask pixels.
This module imports neither torch nor any model, so that commands start fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from crispmask.geometry.mask_runs import MaskRuns
    from crispmask.geometry.packed import PackedMasks

Part = NDArray[np.float32]
"""One ring of an instance, (V, 2) xy in pixels, not closed (first point not repeated)."""

Polygons = tuple[tuple[Part, ...], ...]
"""Instances of an image, each of one or more parts filled together by the even-odd rule:
a ring inside another one is a hole, a ring beside another one a second part."""

Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its annotation.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        polygons: N instances, pixels of `image`.
        labels: (N,) int64, class indices from 0.
        index: position in its dataset, -1 if it has none.
    """

    image: NDArray[np.uint8]
    polygons: Polygons
    labels: NDArray[np.int64]
    index: int = -1


@dataclass(frozen=True, slots=True)
class Targets:
    """What the losses compare with: the instances of a batch, image after image.

    Attributes:
        labels: (N,) int64, N counts the instances of the whole batch.
        boxes: (N, 4) float32 xyxy, pixels of the network's input.
        masks: (N, h, w) bool, the instances on a grid of `mask_stride` input pixels; packed,
            eight pixels to a byte, where a batch was collated for a stride below 4.
        counts: instances of each image; sums to N.
        valid_sizes: (height, width) of each image before the padding at its right and bottom.
        mask_stride: input pixels per mask pixel.
    """

    labels: Tensor
    boxes: Tensor
    masks: Tensor | PackedMasks
    counts: tuple[int, ...]
    valid_sizes: tuple[Size, ...]
    mask_stride: int

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        """The same targets with their tensors on `device`."""
        return replace(
            self,
            labels=self.labels.to(device, non_blocking=non_blocking),
            boxes=self.boxes.to(device, non_blocking=non_blocking),
            masks=self.masks.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Targets:
        """The same targets in page-locked memory."""
        return replace(
            self,
            labels=self.labels.pin_memory(),
            boxes=self.boxes.pin_memory(),
            masks=self.masks.pin_memory(),
        )

    def per_image(self) -> Iterator[tuple[Tensor, Tensor, Tensor | PackedMasks]]:
        """Yields labels (n,), boxes (n, 4) and masks (n, h, w) of each image in order."""
        counts = list(self.counts)
        yield from zip(
            self.labels.split(counts),
            self.boxes.split(counts),
            self.masks.split(counts),
            strict=True,
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """Collated samples.

    Attributes:
        images: (B, 3, H, W) uint8 RGB, H and W multiples of 32.
        targets: their instances.
        indices: position of each image in its dataset.
        original_sizes: (height, width) of each image file, the frame of reported results.
    """

    images: Tensor
    targets: Targets
    indices: tuple[int, ...]
    original_sizes: tuple[Size, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch with its tensors on `device`."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=non_blocking),
            targets=self.targets.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; called by the data loader."""
        return replace(self, images=self.images.pin_memory(), targets=self.targets.pin_memory())


def class_name(names: Sequence[str], label: int) -> str:
    """The name of a label, its number where there is no name."""
    return names[label] if label < len(names) else str(label)


class _Masks:
    """The field `masks` of `Instances`: an array, made at its first use where runs were given."""

    @overload
    def __get__(self, owner: None, kind: type) -> _Masks: ...
    @overload
    def __get__(self, owner: Instances, kind: type) -> NDArray[np.bool_]: ...
    def __get__(self, owner: Instances | None, kind: type) -> _Masks | NDArray[np.bool_]:
        if owner is None:
            raise AttributeError("masks")  # a field without a default
        masks = owner.__dict__["_masks"]
        if not isinstance(masks, np.ndarray):
            masks = masks.dense()
            owner.__dict__["_masks"] = masks
        return masks

    def __set__(self, owner: Instances, masks: NDArray[np.bool_] | MaskRuns) -> None:
        owner.__dict__["_masks"] = owner.__dict__["stored_masks"] = masks


@dataclass(frozen=True)
class Instances:
    """Instances found in one image, best score first.

    Attributes:
        scores: (N,) float32, descending.
        labels: (N,) int64, class indices from 0.
        boxes: (N, 4) float32 xyxy, pixels of the image.
        masks: (N, H, W) bool at the size of the image. Of a large image they are kept as runs,
            and this array is made when it is asked for; the methods do without it.
        names: class names by label.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32]
    masks: _Masks = _Masks()  # a descriptor, not a default
    names: tuple[str, ...] = field(default=())

    @property
    def compact_masks(self) -> NDArray[np.bool_] | MaskRuns:
        """The masks as they are kept: the array, or the runs of a large image."""
        return self.__dict__["stored_masks"]

    @property
    def size(self) -> Size:
        """(height, width) of the image."""
        _, height, width = self.compact_masks.shape
        return height, width

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: int | slice | NDArray[Any] | list[int]) -> Instances:
        """The chosen instances; an integer gives an `Instances` of length one."""
        if isinstance(index, (int, np.integer)):
            index = [int(index)]  # an IndexError for one that is out of range
        return replace(
            self,
            scores=self.scores[index],
            labels=self.labels[index],
            boxes=self.boxes[index],
            masks=self.compact_masks[index],
        )

    def __iter__(self) -> Iterator[Instances]:
        return (self[i] for i in range(len(self)))

    def polygons(self) -> Polygons:
        """The outlines of each mask along pixel edges; rasterised they give the mask again."""
        from crispmask.geometry.outline import outlines

        return outlines(self.compact_masks)

    def plot(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of `image` (H, W, 3) uint8 RGB with masks, boxes and labels drawn on it."""
        from crispmask.draw import draw_instances

        return draw_instances(
            image,
            self.compact_masks,
            self.labels,
            names=self.names,
            scores=self.scores,
            boxes=self.boxes,
        )

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """Rows of a COCO results file: category ids from 1, masks as compressed RLE."""
        from crispmask.geometry.mask_runs import coco_rles

        return [
            {
                "image_id": image_id,
                "category_id": int(label) + 1,
                "score": float(score),
                "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                "segmentation": rle,
            }
            for score, label, (x1, y1, x2, y2), rle in zip(
                self.scores, self.labels, self.boxes, coco_rles(self.compact_masks), strict=True
            )
        ]

    def to_supervision(self) -> Any:
        """The instances as `supervision.Detections`; needs that package."""
        import supervision

        return supervision.Detections(
            xyxy=self.boxes,
            mask=self.masks,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array([class_name(self.names, i) for i in self.labels], str)},
        )

    def to_fiftyone(self) -> Any:
        """The instances as `fiftyone.Detections`, each with the mask of its box; needs FiftyOne."""
        from crispmask.neighbours.fiftyone import to_detections

        return to_detections(self)

    def to_label_studio(self, image: str, model_version: str = "crispmask") -> dict[str, Any]:
        """A task of Label Studio with these instances as its prediction.

        Args:
            image: URL, or path, of the image.
            model_version: shown beside the prediction.
        """
        from crispmask.neighbours.label_studio import to_task

        return to_task(self, image, model_version)
