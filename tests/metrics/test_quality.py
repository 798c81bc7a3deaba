from __future__ import annotations

import numpy as np
import pytest
from metric_cases import outcomes, random_case, row, square, truth_of

from crispmask.geometry.rle import decode_masks
from crispmask.metrics.quality import image_quality


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_formula_on_decoded_masks(seed: int) -> None:
    truth, predictions = random_case(np.random.default_rng(seed), crowds=False)
    found = image_quality(outcomes(truth, predictions).above(0.4))
    for i, image in enumerate(truth["images"]):
        mine = [p for p in predictions if p["image_id"] == image["id"] and p["score"] >= 0.4]
        free = [a for a in truth["annotations"] if a["image_id"] == image["id"]]
        agreement, right, annotated = 0.0, 0, len(free)
        for p in sorted(mine, key=lambda p: -p["score"]):
            best, best_iou = None, 0.5
            for a in free:
                x, y = decode_masks([p["segmentation"], a["segmentation"]])
                iou = (x & y).sum() / (x | y).sum()
                if a["category_id"] == p["category_id"] and iou >= best_iou:
                    best, best_iou = a, iou
            if best is not None:
                free = [a for a in free if a is not best]
                agreement, right = agreement + best_iou, right + 1
        assert (found.right[i], found.wrong[i]) == (right, len(mine) - right)
        assert found.missed[i] == annotated - right
        if annotated or mine:
            total = right + 0.5 * (len(mine) - right) + 0.5 * (annotated - right)
            assert found.quality[i] == pytest.approx(agreement / total)
        else:
            assert np.isnan(found.quality[i])


def test_worst_first_leaves_out_images_with_nothing() -> None:
    mask = square(0, 0, 10, 10)
    annotations = [row(mask, 0, 1), row(mask, 0, 3), row(mask, 0, 4), row(mask, 1, 4)]
    predictions = [row(mask, 0, 3, score=0.9)]
    quality = image_quality(outcomes(truth_of(annotations, 4, 2), predictions))
    assert quality.worst_first().tolist() == [3, 0, 2]  # image ids 4, 1, 3


def test_what_lies_in_a_crowd_does_not_count() -> None:
    annotations = [row(square(0, 0, 20, 20), 0, iscrowd=1)]
    predictions = [row(square(2, 2, 5, 5), 0, score=0.9)]
    quality = image_quality(outcomes(truth_of(annotations, 1, 1), predictions))
    assert np.isnan(quality.quality[0])
    assert (quality.wrong[0], quality.missed[0]) == (0, 0)
