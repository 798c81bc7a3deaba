from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crispmask.export.compare import FULL, _match, compare
from crispmask.types import Instances


def some(num: int = 4) -> Instances:
    masks = np.zeros((num, 40, 40), dtype=bool)
    for i in range(num):
        masks[i, 10 * i : 10 * i + 9, 5:35] = True
    return Instances(
        scores=np.linspace(0.9, 0.5, num, dtype=np.float32),
        labels=np.arange(num) % 2,
        boxes=np.array([[5, 10 * i, 35, 10 * i + 9] for i in range(num)], dtype=np.float32).reshape(
            -1, 4
        ),
        masks=masks,
    )


def test_equal_in_another_order() -> None:
    a = some()
    found = compare([(a, a[[3, 1, 0, 2]])], 0.25, 100, FULL)
    assert found.agrees
    assert (found.num_unpaired, found.share) == (0, 1.0)
    assert found.scores.max() == found.boxes.max() == 0
    assert found.ious.min() == 1


def test_a_missing_instance_counts_unless_its_score_is_at_the_limit() -> None:
    a = some()
    found = compare([(a, a[:3])], 0.25, 100, FULL)
    assert (found.num_unpaired, found.num_excused) == (1, 0)
    assert (found.share, found.agrees) == (0.75, False)
    assert "3 pairs" in found.in_words()
    assert "1 found by one alone; 3 of 4 equal" in found.in_words()
    found = compare([(a, a[:3])], float(a.scores[-1]), 100, FULL)
    assert (found.num_unpaired, found.num_excused, found.agrees) == (1, 1, True)
    assert "1 found by one alone, 1 at the limit of the score; 3 of 3" in found.in_words()
    found = compare([(a, a[:3])], 0.25, 4, FULL)  # cut off by the number
    assert found.num_excused == 1


def untrained(num: int = 30) -> Instances:
    """Boxes all over the image, masks that are all empty, scores that hardly differ."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 200, (num, 2)).astype(np.float32)
    return Instances(
        scores=np.full(num, 0.01, dtype=np.float32) + np.arange(num)[::-1].astype("f4") * 1e-7,
        labels=np.zeros(num, dtype=np.int64),
        boxes=np.concatenate([corner, corner + 80], axis=1),
        masks=np.zeros((num, 40, 40), dtype=bool),
    )


def test_boxes_tell_apart_what_masks_do_not() -> None:
    a = untrained()
    found = compare([(a, a[::-1])], 0.001, 100, FULL)
    assert (len(found.ious), found.boxes.max(), found.num_equal) == (30, 0, 30)


def test_boxes_that_moved_are_not_equal() -> None:
    a = some()
    found = compare([(a, replace(a, boxes=a.boxes + 2))], 0.25, 100, FULL)
    assert (found.boxes.max(), found.num_equal, found.agrees) == (2, 0, False)
    around_masks = replace(FULL, box=np.inf)
    assert compare([(a, replace(a, boxes=a.boxes + 2))], 0.25, 100, around_masks).agrees
    far = untrained()
    found = compare([(far, replace(far, boxes=far.boxes[::-1] + 300))], 0.001, 100, FULL)
    assert not found.agrees


def test_of_equal_scores_at_the_limit_either_may_keep_others() -> None:
    a = untrained()
    b = replace(a, boxes=a.boxes + 3)
    found = compare([(a, b)], 0.001, 30, FULL)  # cut off by the number
    assert (found.num_unpaired, found.num_excused, found.num_counted) == (60, 60, 0)
    found = compare([(a, b)], 0.001, 100, FULL)
    assert (found.num_excused, found.num_equal, found.agrees) == (0, 0, False)


def test_low_scores_do_not_excuse_everything() -> None:
    """All scores of an untrained network are within the tolerance of the lowest one asked for."""
    a = untrained()
    found = compare([(a, a[:15])], 0.0099, 100, FULL)
    assert (found.num_unpaired, found.num_excused, found.agrees) == (15, 0, False)


def slow_pairs(a: Instances, b: Instances) -> list[tuple[int, int]]:
    """The closest of all that is left, again and again."""
    closeness = {}
    for i in range(len(a)):
        for j in range(len(b)):
            mask = (a.masks[i] & b.masks[j]).sum() / max((a.masks[i] | b.masks[j]).sum(), 1)
            (x1, y1, x2, y2), (u1, v1, u2, v2) = a.boxes[i].tolist(), b.boxes[j].tolist()
            both = max(min(x2, u2) - max(x1, u1), 0) * max(min(y2, v2) - max(y1, v1), 0)
            box = both / ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - both)
            if a.labels[i] == b.labels[j] and (mask + box) / 2 > 0.5:
                gap = abs(float(a.scores[i]) - float(b.scores[j]))
                closeness[i, j] = (mask + box) / 2 - gap
    pairs = []
    while closeness:
        best = max(closeness, key=lambda pair: closeness[pair])
        pairs.append(best)
        closeness = {p: c for p, c in closeness.items() if p[0] != best[0] and p[1] != best[1]}
    return sorted(pairs)


@pytest.mark.parametrize("seed", range(20))
def test_pairs_are_the_closest(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def draw(num: int) -> Instances:
        corner, side = rng.integers(0, 12, (num, 2)), rng.integers(8, 16, (num, 2))
        masks = np.zeros((num, 30, 30), dtype=bool)
        for mask, (x, y), (w, h) in zip(masks, corner, side, strict=True):
            mask[y : y + h, x : x + w] = rng.random((h, w)) < 0.9
        return Instances(
            scores=np.sort(rng.uniform(0.3, 0.9, num).astype(np.float32))[::-1],
            labels=rng.integers(0, 2, num),
            boxes=np.concatenate([corner, corner + side], axis=1).astype(np.float32),
            masks=masks,
        )

    a, b = draw(int(rng.integers(0, 12))), draw(int(rng.integers(0, 12)))
    i, j, ious = _match(a, b)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == slow_pairs(a, b)
    for x, y, iou in zip(i, j, ious, strict=True):
        both, either = a.masks[x] & b.masks[y], a.masks[x] | b.masks[y]
        assert iou == pytest.approx(both.sum() / either.sum())


@pytest.mark.parametrize("what", ["scores", "masks", "labels"])
def test_differences_are_found(what: str) -> None:
    a = some()
    value = getattr(a, what).copy()
    if what == "masks":
        value[1] = np.roll(value[1], 2, axis=0)
    else:
        value[1] += {"scores": -0.01, "labels": 5}[what]
    found = compare([(a, replace(a, **{what: value}))], 0.25, 100, FULL)
    assert not found.agrees


def test_nothing_found_by_either() -> None:
    found = compare([(some(0), some(0))], 0.25, 100, FULL)
    assert found.agrees
    assert "nothing found" in found.in_words()
