"""Thresholds and calibration against counting, one prediction after the other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.metrics.coco import evaluate_coco
from crispmask.metrics.confidence import (
    THRESHOLDS,
    Best,
    Judged,
    calibrate,
    confidence_curves,
)


def judged(rows: list[tuple[int, float, bool]], wanted: list[int]) -> Judged:
    rows = sorted(rows, key=lambda row: -row[1])
    return Judged(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.float64),
        np.array([row[2] for row in rows], dtype=bool),
        np.array(wanted, dtype=np.int64),
    )


def random_case(rng: np.random.Generator) -> tuple[list[tuple[int, float, bool]], list[int]]:
    wanted = rng.integers(0, 6, int(rng.integers(1, 4))).tolist()
    rows = []
    left = list(wanted)
    for _ in range(int(rng.integers(0, 25))):
        label = int(rng.integers(len(wanted)))
        right = bool(rng.random() < 0.5) and left[label] > 0
        left[label] -= right
        rows.append((label, float(rng.choice([0.1, 0.25, 0.8, 1.0, rng.random()])), right))
    return rows, wanted


def slow_values(
    rows: list[tuple[int, float, bool]], wanted: int, label: int, threshold: float
) -> tuple[float, float, float]:
    kept = [row for row in rows if row[0] == label and row[1] >= threshold]
    hits = sum(row[2] for row in kept)
    precision = hits / len(kept) if kept else 1.0
    recall = hits / wanted if wanted else 0.0
    missed = wanted - hits
    total = 2 * hits + (len(kept) - hits) + missed
    return precision, recall, 2 * hits / total if total else 0.0


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_equals_counting(seed: int) -> None:
    rows, wanted = random_case(np.random.default_rng(seed))
    curves = confidence_curves(judged(rows, wanted))
    chosen = np.random.default_rng(seed).choice(len(THRESHOLDS), 20)
    for label in range(len(wanted)):
        for i in (0, 100, 250, 800, 1000, *chosen):
            expected = slow_values(rows, wanted[label], label, THRESHOLDS[i])
            got = curves.precision[label, i], curves.recall[label, i], curves.f1[label, i]
            assert got == pytest.approx(expected)
    defined = [label for label in range(len(wanted)) if wanted[label]]
    for labels, best in [(defined, curves.best)] + [([k], curves.class_best[k]) for k in defined]:
        candidates = sorted({row[1] for row in rows if row[0] in labels}, reverse=True)
        means = {
            t: np.mean([slow_values(rows, wanted[k], k, t) for k in labels], axis=0)
            for t in candidates
        }
        f1 = max((values[2] for values in means.values()), default=0.0)
        assert best.f1 == pytest.approx(f1)
        if f1 > 0:
            assert best.confidence == max(t for t in means if means[t][2] > f1 - 1e-9)
            assert (best.precision, best.recall) == pytest.approx(tuple(means[best.confidence][:2]))
        else:
            assert best == Best(0, 0, 0, 0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_calibration_equals_counting(seed: int) -> None:
    rows, wanted = random_case(np.random.default_rng(seed))
    found = calibrate(judged(rows, wanted), num_bins=10)
    error = 0.0
    for b in range(10):
        mine = [row for row in rows if min(int(row[1] * 10), 9) == b]
        expected = sum(row[1] for row in mine) / len(mine) if mine else 0.0
        observed = sum(row[2] for row in mine) / len(mine) if mine else 0.0
        assert (found.count[b], found.expected[b], found.observed[b]) == pytest.approx(
            (len(mine), expected, observed)
        )
        error += len(mine) / max(len(rows), 1) * abs(expected - observed)
    assert found.error == pytest.approx(error)
    assert json.loads(json.dumps(found.to_json())) == found.to_json()


def test_nothing_at_all() -> None:
    empty = judged([], [])
    assert confidence_curves(empty).best == Best(0, 0, 0, 0)
    assert confidence_curves(empty).f1.shape == (0, len(THRESHOLDS))
    assert calibrate(empty).error == 0
    missed = confidence_curves(judged([], [3]))
    assert missed.best == Best(0, 0, 0, 0)
    assert (missed.recall == 0).all()
    assert (missed.precision == 1).all()


def test_a_crowd_is_neither_right_nor_wrong() -> None:
    square = [[10.0, 10.0, 50.0, 10.0, 50.0, 50.0, 10.0, 50.0]]
    crowd = [[60.0, 0.0, 100.0, 0.0, 100.0, 100.0, 60.0, 100.0]]
    row = {"image_id": 1, "category_id": 1}
    truth = {
        "images": [{"id": 1, "height": 100, "width": 100}],
        "annotations": [
            {**row, "segmentation": square, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0},
            {**row, "segmentation": crowd, "bbox": [60, 0, 40, 100], "area": 4000, "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    inside = [[70.0, 10.0, 80.0, 10.0, 80.0, 20.0, 70.0, 20.0]]
    predictions = [
        {**row, "score": 0.5, "segmentation": square, "bbox": [10, 10, 40, 40]},
        {**row, "score": 0.9, "segmentation": inside, "bbox": [70, 10, 10, 10]},
    ]
    metrics = evaluate_coco(truth, predictions, ["cat"])
    assert metrics.confidence.best == Best(0.5, 1.0, 1.0, 1.0)
    assert metrics.calibration.count.sum() == 1
    assert metrics.calibration.error == pytest.approx(0.5)
