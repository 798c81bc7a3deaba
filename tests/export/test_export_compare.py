from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crispmask.export.compare import FULL, compare
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
    assert (found.num_missed, found.share) == (0, 1.0)
    assert found.scores.max() == found.boxes.max() == 0
    assert found.ious.min() == 1


def test_a_missing_instance_counts_unless_its_score_is_at_the_limit() -> None:
    a = some()
    found = compare([(a, a[:3])], 0.25, 100, FULL)
    assert (found.num_missed, found.share, found.agrees) == (1, 0.75, False)
    found = compare([(a, a[:3])], float(a.scores[-1]), 100, FULL)
    assert (found.num_missed, found.agrees) == (0, True)
    found = compare([(a, a[:3])], 0.25, 4, FULL)  # cut off by the number
    assert found.num_missed == 0


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
