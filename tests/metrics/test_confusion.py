from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.geometry.boxes import masks_to_boxes
from crispmask.geometry.rle import decode_masks, encode_masks
from crispmask.metrics import confusion
from crispmask.metrics.comparison import compare

SIZE = (20, 24)


def square(y: int, x: int, side: int = 8) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def row(mask: np.ndarray, label: int, image_id: int = 1, **more: Any) -> dict[str, Any]:
    x1, y1, x2, y2 = masks_to_boxes(mask[None])[0].tolist()
    return {
        "image_id": image_id,
        "category_id": label + 1,
        "segmentation": encode_masks(mask[None])[0],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": float(mask.sum()),
        **more,
    }


def confusion_matrix(
    ground_truth: dict[str, Any], predictions: list[dict[str, Any]], num_classes: int, **more: float
) -> np.ndarray:
    return confusion.confusion_matrix(compare(ground_truth, predictions, num_classes), **more)


def truth(*annotations: dict[str, Any], images: int = 1) -> dict[str, Any]:
    sizes = {"height": SIZE[0], "width": SIZE[1]}
    return {
        "images": [{"id": i + 1, **sizes} for i in range(images)],
        "annotations": [{"id": i + 1, **a} for i, a in enumerate(annotations)],
    }


def slow_confusion(
    ground_truth: dict[str, Any], predictions: list[dict[str, Any]], conf: float, iou: float
) -> np.ndarray:
    """Two classes, no crowds; masks decoded and compared pixel by pixel."""
    matrix = np.zeros((3, 3), dtype=np.int64)
    for image in ground_truth["images"]:
        free = [a for a in ground_truth["annotations"] if a["image_id"] == image["id"]]
        found = [p for p in predictions if p["image_id"] == image["id"] and p["score"] >= conf]
        for prediction in sorted(found, key=lambda p: p["score"], reverse=True):
            mask = decode_masks([prediction["segmentation"]])[0]
            best, best_iou = None, -1.0
            for annotation in free:
                other = decode_masks([annotation["segmentation"]])[0]
                union = (mask | other).sum()
                overlap = (mask & other).sum() / union if union else 0.0
                if overlap > best_iou:
                    best, best_iou = annotation, overlap
            if best is not None and best_iou >= iou:
                matrix[best["category_id"] - 1, prediction["category_id"] - 1] += 1
                free = [a for a in free if a is not best]
            else:
                matrix[2, prediction["category_id"] - 1] += 1
        for annotation in free:
            matrix[annotation["category_id"] - 1, 2] += 1
    return matrix


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_equals_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def rows(count: int, **more: Any) -> list[dict[str, Any]]:
        return [
            row(
                square(*rng.integers(0, 12, 2), side=int(rng.integers(4, 12))),
                int(rng.integers(2)),
                int(rng.integers(1, 4)),
                **{key: float(draw()) for key, draw in more.items()},
            )
            for _ in range(count)
        ]

    ground_truth = truth(*rows(int(rng.integers(0, 8))), images=3)
    predictions = rows(int(rng.integers(0, 12)), score=lambda: rng.choice([0.1, 0.3, 0.3, 0.8]))
    fast = confusion_matrix(ground_truth, predictions, 2, conf=0.25, iou=0.4)
    np.testing.assert_array_equal(
        fast, slow_confusion(ground_truth, predictions, conf=0.25, iou=0.4)
    )


def test_hit_swap_miss_and_false_alarm() -> None:
    ground_truth = truth(row(square(0, 0), 0), row(square(0, 12), 1), row(square(12, 0), 1))
    predictions = [
        row(square(0, 0), 0, score=0.9),
        row(square(0, 12), 0, score=0.8),
        row(square(12, 16), 1, score=0.7),
    ]
    matrix = confusion_matrix(ground_truth, predictions, 2)
    np.testing.assert_array_equal(matrix, [[1, 0, 0], [1, 0, 1], [0, 1, 0]])


def test_low_scores_do_not_count() -> None:
    matrix = confusion_matrix(truth(), [row(square(0, 0), 0, score=0.2)], 1)
    assert matrix.sum() == 0


def test_polygons_and_uncompressed_rle_are_read() -> None:
    polygon = [[0.0, 0.0, 8.0, 0.0, 8.0, 8.0, 0.0, 8.0]]
    runs = [0] + [8, 12] * 7 + [8, SIZE[0] * SIZE[1] - 7 * 20 - 8]
    uncompressed = {"size": list(SIZE), "counts": runs}
    for segmentation in (polygon, uncompressed):
        annotation = row(square(0, 0), 0, segmentation=segmentation)
        matrix = confusion_matrix(truth(annotation), [row(square(0, 0), 0, score=0.9)], 1, iou=0.99)
        np.testing.assert_array_equal(matrix, [[1, 0], [0, 0]])


def test_predictions_inside_a_crowd_are_ignored() -> None:
    ground_truth = truth(row(square(0, 0, side=20), 0, iscrowd=1))
    inside, outside = row(square(2, 2), 0, score=0.9), row(square(2, 19), 0, score=0.9)
    matrix = confusion_matrix(ground_truth, [inside, outside], 1)
    np.testing.assert_array_equal(matrix, [[0, 0], [1, 0]])


@pytest.mark.parametrize("images", [0, 2])
def test_nothing_at_all(images: int) -> None:
    matrix = confusion_matrix(truth(images=images), [], 3)
    assert matrix.shape == (4, 4)
    assert matrix.dtype == np.int64
    assert not matrix.any()
