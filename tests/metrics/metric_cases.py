"""Small random COCO files with predictions of them, for tests of metrics."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from crispmask.geometry.rle import encode_masks
from crispmask.metrics.comparison import compare
from crispmask.metrics.outcomes import Outcomes, outcomes_of

SIZE = (24, 28)


def square(y: int, x: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + height, x : x + width] = True
    return mask


def row(mask: np.ndarray, label: int, image_id: int = 1, **more: Any) -> dict[str, Any]:
    ys, xs = np.nonzero(mask)
    box = [0, 0, 0, 0] if not len(xs) else [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
    return {
        "image_id": image_id,
        "category_id": label + 1,
        "segmentation": encode_masks(mask[None])[0],
        "bbox": [float(v) for v in box],
        "area": float(mask.sum()),
        **more,
    }


def truth_of(
    annotations: list[dict[str, Any]], num_images: int, num_classes: int
) -> dict[str, Any]:
    size = {"height": SIZE[0], "width": SIZE[1]}
    return {
        "images": [{"id": i + 1, **size} for i in range(num_images)],
        "annotations": [
            {"iscrowd": 0, **annotation, "id": i + 1} for i, annotation in enumerate(annotations)
        ],
        "categories": [{"id": k + 1, "name": str(k)} for k in range(num_classes)],
    }


def random_case(
    rng: np.random.Generator, num_images: int = 5, num_classes: int = 3, crowds: bool = True
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Hits, misses, wrong classes, duplicates; every score differs."""

    def draw() -> np.ndarray:
        y, x = rng.integers(0, 16, 2)
        return square(y, x, *rng.integers(5, 12, 2))

    annotations, predictions = [], []
    for image_id in range(1, num_images + 1):
        masks = [draw() for _ in range(rng.integers(0, 5))]
        for mask in masks:
            crowd = int(crowds and rng.random() < 0.15)
            annotations.append(row(mask, int(rng.integers(num_classes)), image_id, iscrowd=crowd))
        for mask in [*masks, draw()] * 2:
            if rng.random() < 0.7:
                moved = np.roll(mask, rng.integers(-2, 3, 2), axis=(0, 1))
                predictions.append(row(moved, int(rng.integers(num_classes)), image_id))
        mine = [a for a in annotations if a["image_id"] == image_id]
        for prediction in predictions:
            if prediction["image_id"] == image_id and mine and rng.random() < 0.6:
                prediction["category_id"] = mine[int(rng.integers(len(mine)))]["category_id"]
    scores = rng.permutation(len(predictions)) + 1
    for prediction, score in zip(predictions, scores.tolist(), strict=True):
        prediction["score"] = score / (len(predictions) + 1)
    return truth_of(annotations, num_images, num_classes), predictions


def outcomes(
    truth: dict[str, Any], predictions: list[dict[str, Any]], kind: Literal["mask", "box"] = "mask"
) -> Outcomes:
    return outcomes_of(compare(truth, predictions, len(truth["categories"])), kind)
