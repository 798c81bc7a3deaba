"""Typed errors against a second implementation with loops, on decoded masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from metric_cases import outcomes, random_case, row, square, truth_of

from crispmask.geometry.rle import decode_masks
from crispmask.metrics.coco import evaluate_coco
from crispmask.metrics.errors import ERROR_KINDS, typed_errors


def slow_ap(found: list[tuple[float, bool]], total: int) -> float:
    """Precision at 101 recalls, each the best one at that recall or beyond."""
    found = sorted(found, key=lambda pair: -pair[0])
    precision, recall, right = [], [], 0
    for count, (_, hit) in enumerate(found, start=1):
        right += hit
        precision.append(right / count)
        recall.append(right / total)
    values = []
    for level in np.linspace(0, 1, 101):
        values.append(
            max((p for p, r in zip(precision, recall, strict=True) if r >= level), default=0)
        )
    return float(np.mean(values))


def slow_errors(
    truth: dict[str, Any], predictions: list[dict[str, Any]], num_classes: int
) -> tuple[float, dict[str, float], dict[str, int]]:
    """AP50, gains and counts. Without crowds."""
    annotations = truth["annotations"]

    def iou(a: dict[str, Any], b: dict[str, Any]) -> float:
        if a["image_id"] != b["image_id"]:
            return 0.0
        first, second = decode_masks([a["segmentation"]])[0], decode_masks([b["segmentation"]])[0]
        return float((first & second).sum() / (first | second).sum())

    predictions = sorted(predictions, key=lambda p: -p["score"])
    owner: dict[int, int] = {}  # annotation to prediction
    for i, p in enumerate(predictions):
        best = None
        for j, a in enumerate(annotations):
            good = a["category_id"] == p["category_id"] and j not in owner and iou(p, a) >= 0.5
            if good and (best is None or iou(p, a) >= iou(p, annotations[best])):
                best = j
        if best is not None:
            owner[best] = i
    kinds: dict[int, str] = {}
    meant: dict[int, int] = {}
    for i, p in enumerate(predictions):
        if i in owner.values():
            continue
        same = {
            j: iou(p, a) for j, a in enumerate(annotations) if a["category_id"] == p["category_id"]
        }
        other = {j: iou(p, a) for j, a in enumerate(annotations) if j not in same}
        if 0.1 <= max(same.values(), default=0) < 0.5:
            kinds[i], meant[i] = "localisation", max(same, key=lambda j: same[j])
        elif max(other.values(), default=0) >= 0.5:
            kinds[i], meant[i] = "class", max(other, key=lambda j: other[j])
        elif max(same.values(), default=0) >= 0.5:
            kinds[i] = "duplicate"
        elif max([*same.values(), *other.values()], default=0) < 0.1:
            kinds[i] = "background"
        else:
            kinds[i] = "both"
    missed = [j for j in range(len(annotations)) if j not in owner and j not in meant.values()]

    def mean_ap(found: list[tuple[int, float, bool]], lost: list[int]) -> float:
        values = []
        for label in range(1, num_classes + 1):
            total = sum(a["category_id"] == label for a in annotations)
            if not total:
                continue
            left = total - sum(annotations[j]["category_id"] == label for j in lost)
            mine = [(score, hit) for k, score, hit in found if k == label]
            values.append(slow_ap(mine, left) if left else 0.0)
        return float(np.mean(values)) if values else -1.0

    def repaired(kind: str) -> list[tuple[int, float, bool]]:
        final = dict(owner)
        if kind in ("class", "localisation"):
            for i, j in meant.items():
                if kinds[i] == kind:  # the better one keeps the annotation
                    final[j] = min(final.get(j, i), i)
        result = []
        for i, p in enumerate(predictions):
            mine = [j for j, keeper in final.items() if keeper == i]
            if mine:
                result.append((annotations[mine[0]]["category_id"], p["score"], True))
            elif i not in owner.values() and kinds[i] != kind:
                result.append((p["category_id"], p["score"], False))
        return result

    ap50 = mean_ap(repaired(""), [])
    gains = {kind: mean_ap(repaired(kind), []) - ap50 for kind in ERROR_KINDS if kind != "missed"}
    gains["missed"] = mean_ap(repaired(""), missed) - ap50
    counts = {kind: sum(k == kind for k in kinds.values()) for kind in ERROR_KINDS}
    return ap50, gains, {**counts, "missed": len(missed)}


@pytest.mark.parametrize("seed", range(12))
def test_equals_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predictions = random_case(rng, num_images=3, crowds=False)
    found = typed_errors(outcomes(truth, predictions))
    ap50, gains, counts = slow_errors(truth, predictions, 3)
    assert found.ap50 == pytest.approx(ap50, abs=1e-9)
    assert found.gains == pytest.approx(gains, abs=1e-9)
    assert found.counts == counts
    assert found.num_right + sum(counts.values()) - counts["missed"] == len(predictions)


def test_random_cases_hold_every_kind() -> None:
    total = dict.fromkeys(ERROR_KINDS, 0)
    for seed in range(12):
        truth, predictions = random_case(np.random.default_rng(seed), num_images=3, crowds=False)
        counts = typed_errors(outcomes(truth, predictions)).counts
        total = {kind: total[kind] + counts[kind] for kind in ERROR_KINDS}
    assert min(total.values()) > 3, total


@pytest.mark.parametrize("seed", range(6))
def test_ap50_is_that_of_coco_and_no_repair_loses(seed: int) -> None:
    truth, predictions = random_case(np.random.default_rng(seed), num_images=6)
    found = typed_errors(outcomes(truth, predictions))
    expected = evaluate_coco(truth, predictions, ("a", "b", "c")).mask.map50
    assert found.ap50 == pytest.approx(expected, abs=1e-6)
    assert min(found.gains.values()) >= -1e-12


def one_of_each() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    first, second = square(0, 0, 10, 10), square(0, 14, 10, 10)
    third = square(14, 0, 8, 8)
    annotations = [row(first, 0), row(second, 1), row(third, 0), row(first, 0, 2)]
    predictions = [
        row(first, 0, score=0.9),
        row(first, 0, score=0.8),  # again
        row(second, 0, score=0.7),  # taken for class 0
        row(square(3, 17, 10, 10), 1, score=0.6),  # IoU 0.32 with the second
        row(square(3, 17, 10, 10), 0, score=0.5),  # the same of another class
        row(square(15, 16, 8, 8), 1, score=0.4),  # on nothing
    ]
    return truth_of(annotations, 2, 2), predictions


def test_one_of_each_kind() -> None:
    found = typed_errors(outcomes(*one_of_each()))
    assert found.num_right == 1
    assert found.counts == {
        "class": 1,
        "localisation": 1,
        "both": 1,
        "duplicate": 1,
        "background": 1,
        "missed": 2,  # the third, and that of the second image
    }
    # The class error becomes the first prediction of class 1, and the only one that counts.
    assert found.ap50 == pytest.approx((34 / 101 + 0) / 2)
    assert found.gains["class"] == pytest.approx(1 / 2)
    assert found.gains["localisation"] == pytest.approx(1 / 2)
    assert found.gains["missed"] == pytest.approx((1 - 34 / 101) / 2)
    assert found.gains["background"] == 0


def test_only_predictions_above_a_confidence() -> None:
    found = outcomes(*one_of_each())
    counts = typed_errors(found.above(0.7)).counts
    assert (counts["duplicate"], counts["class"], counts["localisation"]) == (1, 1, 0)
    assert typed_errors(found.above(1.0)).counts["missed"] == 4


def test_what_lies_in_a_crowd_is_no_mistake() -> None:
    annotations = [row(square(0, 0, 20, 20), 0, iscrowd=1)]
    predictions = [row(square(2, 2, 5, 5), 0, score=0.9)]
    found = typed_errors(outcomes(truth_of(annotations, 1, 1), predictions))
    assert found.ap50 == -1
    assert sum(found.counts.values()) == 0


@pytest.mark.parametrize("num_images", [0, 1])
def test_nothing_at_all(num_images: int) -> None:
    found = typed_errors(outcomes(truth_of([], num_images, 2), []))
    assert found.ap50 == -1
    assert found.gains == dict.fromkeys(ERROR_KINDS, 0.0)
    assert found.counts == dict.fromkeys(ERROR_KINDS, 0)


def test_no_annotations() -> None:
    predictions = [row(square(0, 0, 8, 8), 1, score=0.9)]
    found = typed_errors(outcomes(truth_of([], 1, 2), predictions))
    assert (found.ap50, found.gains["background"], found.counts["background"]) == (-1, 0, 1)


def test_no_predictions() -> None:
    truth = truth_of([row(square(0, 0, 8, 8), 1)], 1, 2)
    found = typed_errors(outcomes(truth, []))
    assert (found.ap50, found.counts["missed"]) == (0, 1)
    assert found.gains == dict.fromkeys(ERROR_KINDS, 0.0)
