from __future__ import annotations

import numpy as np
import pytest

from crispmask.inference.views import View, merge, mirror, suppress


def view_of(
    scores: list[float], labels: list[int], columns: list[tuple[int, int]], boxes: bool = True
) -> View:
    """Instances that fill some columns of a 6 x 10 mask, of an input four times as large."""
    soft = np.full((len(scores), 6, 10), -3.0, dtype=np.float32)
    for mask, (x1, x2) in zip(soft, columns, strict=True):
        mask[:, x1:x2] = 5.0
    xyxy = np.array([[4 * x1, 0, 4 * x2, 24] for x1, x2 in columns], dtype=np.float32)
    return View(
        np.array(scores, dtype=np.float32),
        np.array(labels, dtype=np.int64),
        xyxy.reshape(-1, 4) if boxes else None,
        soft,
    )


def test_mirroring_twice_changes_nothing() -> None:
    view = view_of([0.9, 0.4], [0, 1], [(1, 3), (4, 10)])
    once = mirror(view, 40)
    assert once.boxes is not None
    assert once.boxes.tolist() == [[28, 0, 36, 24], [0, 0, 24, 24]]
    assert (once.soft_masks[0, 0] > 0).nonzero()[0].tolist() == [7, 8]
    twice = mirror(once, 40)
    assert twice.boxes is not None
    np.testing.assert_array_equal(twice.boxes, view.boxes)
    np.testing.assert_array_equal(twice.soft_masks, view.soft_masks)


@pytest.mark.parametrize("boxes", [True, False])
def test_what_both_views_have_is_averaged(boxes: bool) -> None:
    a = view_of([0.8, 0.6], [0, 1], [(0, 4), (6, 9)], boxes)
    b = view_of([0.7, 0.4], [1, 0], [(6, 10), (0, 4)], boxes)
    merged = merge(a, b, 0.0, 0.25)
    np.testing.assert_allclose(merged.scores, [0.65, 0.6])
    assert merged.labels.tolist() == [1, 0]
    if boxes:
        assert merged.boxes is not None
        assert merged.boxes.tolist() == [[24, 0, 38, 24], [0, 0, 16, 24]]
    else:
        assert merged.boxes is None
    np.testing.assert_array_equal(merged.soft_masks[0], (a.soft_masks[1] + b.soft_masks[0]) / 2)


def test_what_one_view_has_alone_counts_half() -> None:
    a = view_of([0.9, 0.8, 0.4], [0, 0, 2], [(0, 3), (5, 9), (2, 8)])
    b = view_of([0.7], [1], [(0, 3)])  # of another label: no partner
    merged = merge(a, b, 0.0, 0.25)
    np.testing.assert_allclose(merged.scores, [0.45, 0.4, 0.35])
    assert merged.labels.tolist() == [0, 0, 1]


def test_each_has_one_partner_the_best() -> None:
    a = view_of([0.9], [0], [(0, 6)])
    b = view_of([0.8, 0.7], [0, 0], [(0, 4), (0, 6)])
    merged = merge(a, b, 0.0, 0.0)
    np.testing.assert_allclose(merged.scores, [0.8, 0.4])  # paired with the second


def test_nothing_in_one_view_or_in_both() -> None:
    nothing = view_of([], [], [])
    some = view_of([0.9], [0], [(0, 6)])
    assert len(merge(nothing, nothing, 0.0, 0.1).scores) == 0
    np.testing.assert_allclose(merge(some, nothing, 0.0, 0.1).scores, [0.45])
    np.testing.assert_allclose(merge(nothing, some, 0.0, 0.1).scores, [0.45])


def test_overlapping_masks_of_one_label_are_suppressed() -> None:
    view = view_of([0.9, 0.8, 0.7, 0.6], [0, 0, 1, 0], [(0, 8), (0, 6), (0, 6), (5, 10)])
    assert suppress(view, 0.0, 0.7).scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert suppress(view, 0.0, 0.8).scores.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert suppress(view_of([], [], []), 0.0, 0.5).scores.tolist() == []
