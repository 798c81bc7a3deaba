"""Boundary AP against masks eroded pixel by pixel, and AP written out in loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_coco_metrics import NAMES, decoded_row, random_case

from crispmask.metrics.coco import evaluate_coco


def slow_boundary(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask nearer to its outside than 2 % of the diagonal; beyond the image is out."""
    height, width = mask.shape
    d = max(1, round(float(0.02 * np.hypot(height, width))))
    outside = np.ones((height + 2 * d, width + 2 * d), dtype=bool)
    outside[d:-d, d:-d] = ~mask
    boundary = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        boundary[y, x] = outside[y : y + 2 * d + 1, x : x + 2 * d + 1].any()
    return boundary


def slow_iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def slow_ap(truth: dict[str, Any], predictions: list[dict[str, Any]], iou: float) -> list[float]:
    """Boundary AP of each class, without crowds."""
    size = (truth["images"][0]["height"], truth["images"][0]["width"])
    aps = []
    for category in range(1, len(NAMES) + 1):
        events, wanted = [], 0
        for image in truth["images"]:
            mine = [
                a
                for a in truth["annotations"]
                if a["image_id"] == image["id"] and a["category_id"] == category
            ]
            found = [
                p
                for p in predictions
                if p["image_id"] == image["id"] and p["category_id"] == category
            ]
            wanted += len(mine)
            free = [(decoded_row(a, size), slow_boundary(decoded_row(a, size))) for a in mine]
            for p in sorted(found, key=lambda p: -p["score"]):
                mask = decoded_row(p, size)
                edge = slow_boundary(mask)
                overlaps = [min(slow_iou(mask, m), slow_iou(edge, e)) for m, e in free]
                best = max(range(len(free)), key=lambda i: (overlaps[i], i), default=-1)
                hit = best >= 0 and overlaps[best] >= iou
                if hit:
                    free.pop(best)
                events.append((p["score"], hit))
        if not wanted:
            continue
        events.sort(key=lambda event: -event[0])
        hits = np.cumsum([hit for _, hit in events])
        precision = hits / np.arange(1, len(events) + 1)
        recall = hits / wanted
        values = []
        for level in np.linspace(0, 1, 101):
            there = precision[recall >= level]
            values.append(there.max() if len(there) else 0.0)
        aps.append(float(np.mean(values)))
    return aps


@pytest.mark.parametrize("seed", range(6))
def test_equals_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed + 70)
    truth, predictions = random_case(rng)
    while not predictions or truth["images"][0]["height"] * truth["images"][0]["width"] > 6000:
        truth, predictions = random_case(rng)
    truth = {
        **truth,
        "annotations": [{**annotation, "iscrowd": 0} for annotation in truth["annotations"]],
    }
    scores = rng.permutation(len(predictions)) / len(predictions)  # no ties: they have no order
    predictions = [
        {**p, "score": float(score)} for p, score in zip(predictions[:40], scores[:40], strict=True)
    ]
    boundary = evaluate_coco(truth, predictions, NAMES, boundary=True).boundary
    assert boundary is not None
    assert boundary.map50 == pytest.approx(np.mean(slow_ap(truth, predictions, 0.5)), abs=1e-9)
    assert boundary.map75 == pytest.approx(np.mean(slow_ap(truth, predictions, 0.75)), abs=1e-9)


def test_it_is_at_most_mask_ap_and_sees_what_that_does_not() -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[20:180, 20:180] = True
    rough = mask.copy()
    rough[20:180:8, 20:180] ^= np.arange(160) < 3  # teeth of 3 pixels at one side
    rough[26:174, 26:29] = False
    from crispmask.geometry.rle import encode_masks

    row = {"image_id": 1, "category_id": 1, "bbox": [20, 20, 160, 160]}
    truth = {
        "images": [{"id": 1, "height": 200, "width": 200}],
        "annotations": [
            {**row, "segmentation": encode_masks(mask[None])[0], "area": 25600, "iscrowd": 0}
        ],
        "categories": [],
    }
    found = [{**row, "segmentation": encode_masks(rough[None])[0], "score": 0.5}]
    metrics = evaluate_coco(truth, found, ["a"], boundary=True)
    assert metrics.boundary is not None
    assert metrics.mask.map50_95 == pytest.approx(1)
    assert metrics.boundary.map50_95 < 0.9


def test_nothing_at_all() -> None:
    truth = {"images": [{"id": 1, "height": 9, "width": 9}], "annotations": [], "categories": []}
    metrics = evaluate_coco(truth, [], ["a"], boundary=True)
    assert metrics.boundary is not None
    assert metrics.boundary.map50_95 == -1
    assert metrics.to_json()["boundary/mAP50-95"] == -1
    assert "boundary/mAP50-95" not in evaluate_coco(truth, [], ["a"]).to_json()
