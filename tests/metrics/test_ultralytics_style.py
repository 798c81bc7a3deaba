"""The figure in the manner of Ultralytics against loops over pixels and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_coco_metrics import NAMES, decoded_row, random_case

from crispmask.geometry.rle import encode_masks
from crispmask.metrics.ultralytics_style import (
    StyleComparer,
    UltralyticsStyle,
    interpolated_ap,
    match_by_overlap,
)


def measure_style(
    truth: dict[str, Any], predictions: list[dict[str, Any]], num_classes: int, imgsz: int
) -> UltralyticsStyle:
    comparer = StyleComparer(truth, num_classes, imgsz)
    for image in truth["images"]:
        comparer.add(image["id"], [p for p in predictions if p["image_id"] == image["id"]])
    return comparer.finish()


def slow_quarter(mask: np.ndarray, imgsz: int) -> np.ndarray:
    height, width = mask.shape
    scale = imgsz / max(height, width)
    h = max(1, round(max(1, int(height * scale + 0.5)) / 4))
    w = max(1, round(max(1, int(width * scale + 0.5)) / 4))
    return np.array(
        [
            [mask[int((i + 0.5) * height / h), int((j + 0.5) * width / w)] for j in range(w)]
            for i in range(h)
        ]
    )


def slow_style(
    truth: dict[str, Any], predictions: list[dict[str, Any]], imgsz: int
) -> tuple[float, float]:
    size = (truth["images"][0]["height"], truth["images"][0]["width"])
    levels = np.linspace(0.5, 0.95, 10)
    events: dict[int, list[tuple[float, list[bool]]]] = {k: [] for k in range(1, len(NAMES) + 1)}
    wanted = dict.fromkeys(events, 0)
    for image in truth["images"]:
        mine = [
            a
            for a in truth["annotations"]
            if a["image_id"] == image["id"] and not a.get("iscrowd", 0)
        ]
        masks = [slow_quarter(decoded_row(a, size), imgsz) for a in mine]
        areas = [m.sum() for m in masks]
        shown = []
        for i, mask in enumerate(masks):
            hidden = np.zeros_like(mask)
            for j, other in enumerate(masks):
                if areas[j] < areas[i] or (areas[j] == areas[i] and j > i):
                    hidden |= other
            shown.append(mask & ~hidden)
        for a in mine:
            wanted[a["category_id"]] += 1
        found = [p for p in predictions if p["image_id"] == image["id"] and p["score"] >= 0.001]
        found = sorted(found, key=lambda p: -p["score"])[:300]
        taken: list[set[int]] = [set() for _ in levels]
        for p in found:
            mask = slow_quarter(decoded_row(p, size), imgsz)
            best, partner = 0.0, -1
            for i, (a, other) in enumerate(zip(mine, shown, strict=True)):
                union = (mask | other).sum()
                iou = (mask & other).sum() / union if union else 0.0
                if a["category_id"] == p["category_id"] and iou > best:
                    best, partner = iou, i
            hits = []
            for t, level in enumerate(levels):
                hits.append(best >= level and partner not in taken[t])
                if best >= level:
                    taken[t].add(partner)
            events[p["category_id"]].append((p["score"], hits))
    aps = []
    for k, count in wanted.items():
        if count:
            ordered = sorted(events[k], key=lambda event: -event[0])
            hits = np.array([event[1] for event in ordered], dtype=bool).reshape(-1, 10)
            aps.append(interpolated_ap(hits, count))
    return float(np.mean(aps)), float(np.mean([ap[0] for ap in aps]))


@pytest.mark.parametrize("seed", range(8))
def test_equals_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed + 30)
    truth, predictions = random_case(rng)
    while not predictions or truth["images"][0]["height"] * truth["images"][0]["width"] > 9000:
        truth, predictions = random_case(rng)
    predictions = predictions[:60]
    found = measure_style(truth, predictions, len(NAMES), 160)
    assert (found.map50_95, found.map50) == pytest.approx(slow_style(truth, predictions, 160))


@pytest.mark.parametrize(
    ("right", "wanted", "area"),
    [("10", 2, 0.495), ("1", 2, 0.495), ("0101", 2, 0.4975), ("01", 4, 0.1225), ("", 3, 0.0)],
)
def test_area_under_a_curve(right: str, wanted: int, area: float) -> None:
    """The areas are those that release 8.4.190 gives; precision is 0 beyond the last recall."""
    hits = np.array([[mark == "1"] for mark in right], dtype=bool).reshape(-1, 1)
    assert interpolated_ap(hits, wanted).tolist() == pytest.approx([area], abs=1e-12)


def test_of_two_that_take_one_the_better_score_is_right() -> None:
    iou = np.array([[0.6, 0.0], [0.9, 0.4], [0.55, 0.7]])
    right = match_by_overlap(iou)
    np.testing.assert_array_equal(right[:, 0], [True, False, True])  # at IoU 0.50
    np.testing.assert_array_equal(right[:, 4], [False, True, True])  # at IoU 0.70


def test_the_smaller_annotation_takes_the_pixels() -> None:
    large = np.ones((64, 64), dtype=bool)
    small = np.zeros((64, 64), dtype=bool)
    small[16:48, 16:48] = True
    ring = large & ~small

    def row(mask: np.ndarray, **more: Any) -> dict[str, Any]:
        rle = encode_masks(mask[None])[0]
        return {"image_id": 1, "category_id": 1, "segmentation": rle, "area": 1.0, **more}

    truth = {
        "images": [{"id": 1, "height": 64, "width": 64}],
        "annotations": [row(small), row(large)],
    }
    found = [row(ring, score=0.9), row(small, score=0.8)]
    assert measure_style(truth, found, 1, 64).map50_95 == pytest.approx(1, abs=0.01)
    found = [row(large, score=0.9), row(small, score=0.8)]  # IoU 0.75 with what is left of large
    style = measure_style(truth, found, 1, 64)
    assert style.map50 == pytest.approx(1, abs=0.01)
    assert style.map50_95 < 0.85


def test_nothing_at_all() -> None:
    truth = {"images": [{"id": 1, "height": 9, "width": 9}], "annotations": []}
    assert measure_style(truth, [], 2, 64).map50_95 == -1
    row = {"image_id": 1, "category_id": 1}
    rle = encode_masks(np.ones((1, 9, 9), dtype=bool))[0]
    annotated = {**truth, "annotations": [{**row, "segmentation": rle}]}
    assert measure_style(annotated, [], 2, 64).map50_95 == 0
    found = [{**row, "segmentation": rle, "score": 0.5}]
    assert measure_style(truth, found, 2, 64).map50_95 == -1
    assert measure_style({"images": [], "annotations": []}, [], 0, 64).map50 == -1
