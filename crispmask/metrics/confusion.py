"""Which class is taken for which other one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]],
    num_classes: int,
    conf: float = 0.25,
    iou: float = 0.5,
) -> NDArray[np.int64]:
    """Counts pairs of annotated and predicted class, masks compared at native size.

    Predictions of an image, best score first, each take the free annotation of any class
    with the highest mask IoU, if that is at least `iou`. Crowd annotations are no instances;
    a prediction without a partner that lies in one, by at least `iou` of its own area, is
    not counted.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`.
        predictions: rows of a COCO results file with `segmentation`.
        num_classes: K; the category id of a label is label + 1.
        conf: lowest score of a prediction that counts.
        iou: lowest mask IoU of a pair.

    Returns:
        (K + 1, K + 1). Row: annotated class, column: predicted class. The last row counts
        predictions without annotation, the last column annotations without prediction.
    """
    annotated = _by_image(ground_truth["annotations"])
    predicted = _by_image(row for row in predictions if row["score"] >= conf)
    matrix = np.zeros((num_classes + 1, num_classes + 1), dtype=np.int64)
    for image in ground_truth["images"]:
        size = (int(image["height"]), int(image["width"]))
        rows = sorted(predicted[image["id"]], key=lambda row: -row["score"])
        instances = [row for row in annotated[image["id"]] if not row.get("iscrowd", 0)]
        crowds = [row for row in annotated[image["id"]] if row.get("iscrowd", 0)]
        overlaps = mask_overlaps(rows, instances, size)
        in_crowd = mask_overlaps(rows, crowds, size, of_crowd=True).max(1, initial=0)
        free = np.ones(len(instances), dtype=bool)
        for row, overlap, crowd in zip(rows, overlaps, in_crowd, strict=True):
            label = int(row["category_id"]) - 1
            candidates = np.where(free, overlap, -1.0)
            partner = int(candidates.argmax()) if len(instances) else -1
            if partner >= 0 and candidates[partner] >= iou:
                free[partner] = False
                matrix[int(instances[partner]["category_id"]) - 1, label] += 1
            elif crowd < iou:
                matrix[num_classes, label] += 1
        for instance, missed in zip(instances, free, strict=True):
            matrix[int(instance["category_id"]) - 1, num_classes] += int(missed)
    return matrix


def mask_overlaps(
    predictions: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    size: tuple[int, int],
    of_crowd: bool = False,
) -> NDArray[np.float64]:
    """Mask IoU of each prediction and annotation of an image of `size`, (P, G).

    With `of_crowd` the intersection is divided by the area of the prediction alone.
    """
    from faster_coco_eval.core import mask as coco_mask

    if not predictions or not annotations:
        return np.zeros((len(predictions), len(annotations)))
    overlaps = coco_mask.iou(
        [_to_rle(row["segmentation"], size) for row in predictions],
        [_to_rle(row["segmentation"], size) for row in annotations],
        [int(of_crowd)] * len(annotations),
    )
    return np.asarray(overlaps, dtype=np.float64).reshape(len(predictions), len(annotations))


def _to_rle(segmentation: Any, size: tuple[int, int]) -> Any:
    """Compressed RLE of polygons, of uncompressed RLE, or of itself."""
    from faster_coco_eval.core import mask as coco_mask

    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, *size)
    return segmentation


def _by_image(rows: Any) -> defaultdict[int, list[Mapping[str, Any]]]:
    grouped: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["image_id"]].append(row)
    return grouped
