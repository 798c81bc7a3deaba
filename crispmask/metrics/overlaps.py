"""Overlap of the predictions of one image with its annotations.

Letters: P pairs, D predictions, G annotations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.boundary import boundaries
from crispmask.geometry.mask_runs import read_rles
from crispmask.types import Size

LOWEST_IOU = 0.1
"""Pairs with less have nothing to do with each other (the background of TIDE)."""

MATCH_IOU = 0.5
"""Lowest IoU of a match; the boundary IoU of other pairs never counts."""

Row = Mapping[str, Any]


class ImageOverlaps(NamedTuple):
    """The pairs of an image, as columns; see `comparison.Pairs`."""

    prediction: NDArray[np.int32]
    annotation: NDArray[np.int32]
    mask_iou: NDArray[np.float64]
    box_iou: NDArray[np.float64]
    boundary_iou: NDArray[np.float64]

    @classmethod
    def empty(cls) -> ImageOverlaps:
        """No pairs."""
        return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), *(np.zeros(0) for _ in range(3)))


def overlaps_of_image(
    predictions: Sequence[Row],
    annotations: Sequence[Row],
    size: Size,
    boundary: bool,
    area_of_box: bool,
) -> tuple[NDArray[np.float64], ImageOverlaps]:
    """Areas (D,) of the predictions, and the pairs of the image.

    Args:
        predictions: rows with `bbox` and `segmentation`.
        annotations: rows of the same image.
        size: (height, width) of the image.
        boundary: whether boundary IoU is wanted.
        area_of_box: whether the area of a prediction is that of its box.
    """
    from faster_coco_eval.core import mask as coco_mask

    boxes = np.array([row["bbox"] for row in predictions], dtype=np.float64).reshape(-1, 4)
    found = [to_rle(row["segmentation"], size) for row in predictions]
    if area_of_box:
        areas = boxes[:, 2] * boxes[:, 3]
    else:
        areas = np.asarray(coco_mask.area(found), dtype=np.float64)
    if not annotations:
        return areas, ImageOverlaps.empty()
    there = [to_rle(row["segmentation"], size) for row in annotations]
    crowd = np.array([row.get("iscrowd", 0) for row in annotations], dtype=np.bool_)
    mask_iou = np.asarray(
        coco_mask.iou(found, there, crowd.astype(int).tolist()), dtype=np.float64
    ).reshape(len(found), len(there))
    annotated = np.array([row["bbox"] for row in annotations], dtype=np.float64).reshape(-1, 4)
    box_iou = box_overlaps(boxes, annotated, crowd)
    prediction, annotation = np.nonzero(np.maximum(mask_iou, box_iou) >= LOWEST_IOU)
    pairs = ImageOverlaps(
        prediction.astype(np.int32),
        annotation.astype(np.int32),
        mask_iou[prediction, annotation],
        box_iou[prediction, annotation],
        np.zeros(0),
    )
    if boundary:
        labels = np.array([row["category_id"] for row in predictions], dtype=np.int64)
        others = np.array([row["category_id"] for row in annotations], dtype=np.int64)
        worth = (labels[prediction] == others[annotation]) & ~crowd[annotation]
        worth &= pairs.mask_iou >= MATCH_IOU
        boundary_iou = pairs.mask_iou.copy()
        boundary_iou[worth] = np.minimum(
            boundary_iou[worth],
            _boundary_overlaps(found, there, prediction[worth], annotation[worth]),
        )
        pairs = pairs._replace(boundary_iou=boundary_iou)
    return areas, pairs


def box_overlaps(
    boxes: NDArray[np.float64], others: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU (D, G) of boxes, intersection over the first box where the other is a crowd.

    Args:
        boxes: (D, 4) x, y, width, height.
        others: (G, 4) likewise.
        crowd: (G,).
    """
    a, b = boxes[:, None], others[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    sides = (high - low).clip(min=0)
    shared = sides[..., 0] * sides[..., 1]  # (D, G)
    area, other = a[..., 2] * a[..., 3], b[..., 2] * b[..., 3]
    whole = np.where(crowd, area, area + other - shared)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=shared > 0)


def _boundary_overlaps(
    found: Sequence[Any],
    there: Sequence[Any],
    prediction: NDArray[np.int64],
    annotation: NDArray[np.int64],
) -> NDArray[np.float64]:
    """IoU (P,) of the boundaries of pairs of masks."""
    from faster_coco_eval.core import mask as coco_mask

    if not len(prediction):
        return np.zeros(0)
    chosen, row = np.unique(prediction, return_inverse=True)
    others, column = np.unique(annotation, return_inverse=True)
    ours = boundaries(read_rles([found[i] for i in chosen])).to_coco()
    theirs = boundaries(read_rles([there[i] for i in others])).to_coco()
    iou = np.asarray(coco_mask.iou(ours, theirs, [0] * len(theirs)), dtype=np.float64)
    return iou.reshape(len(ours), len(theirs))[row, column]


def to_rle(segmentation: Any, size: Size) -> Any:
    """Compressed RLE of polygons, of uncompressed RLE, or of itself."""
    if isinstance(segmentation, dict) and not isinstance(segmentation["counts"], list):
        return segmentation  # first: there are hundreds of thousands
    from faster_coco_eval.core import mask as coco_mask

    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    return coco_mask.frPyObjects(segmentation, *size)
