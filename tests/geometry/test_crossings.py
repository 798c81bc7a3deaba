from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispmask.geometry.crossings import worst_crossing


def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    return float(np.sign((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])))


def crosses(ring: np.ndarray) -> bool:
    """Tries all pairs of edges."""
    edges = list(zip(ring, np.roll(ring, -1, axis=0), strict=True))
    return any(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for i, (a, b) in enumerate(edges)
        for c, d in edges[i + 1 :]
    )


def ring(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=np.float64)


def test_bow_tie() -> None:
    found = worst_crossing(ring((0, 0), (4, 4), (4, 0), (0, 4)))
    assert found is not None
    assert found.point == pytest.approx((2, 2))
    assert found.loop_area == pytest.approx(4)


def test_the_largest_loop_is_told() -> None:
    outline = ring((0, 0), (20, 0), (20, 10), (10, 10), (12, 12), (12, 10), (10, 12), (0, 12))
    found = worst_crossing(outline)
    assert found is not None
    assert found.point == pytest.approx((11, 11))
    outline = ring((0, 0), (20, 0), (20, 20), (9, 20), (11, 22), (11, 20), (5, 20), (15, -5))
    found = worst_crossing(outline)
    assert found is not None
    assert found.loop_area > 10


@pytest.mark.parametrize(
    "outline",
    [
        ring((0, 0), (4, 0), (4, 4), (0, 4)),
        ring((0, 0), (4, 0), (2, 2), (4, 4), (0, 4), (2, 2)),  # touches itself
        ring((0, 0), (8, 0), (8, 8), (0, 8), (0, 0), (2, 2), (2, 6), (6, 6), (6, 2), (2, 2)),
        ring((0, 0), (4, 0), (2, 0), (2, 3)),  # an edge on another
        ring((0, 0), (1, 1), (2, 2), (3, 3)),
        ring((1, 1), (1, 1), (1, 1), (1, 1)),
        ring((0, 0), (1, 0), (0, 1)),
        np.zeros((0, 2)),
    ],
)
def test_no_crossing(outline: np.ndarray) -> None:
    assert worst_crossing(outline) is None
    assert worst_crossing(outline[::-1]) is None


@given(st.integers(0, 2**32 - 1))
def test_agrees_with_trying_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 14))
    # Whole numbers touch and overlap often, fractions never do.
    outline = rng.integers(0, 6, (count, 2)) if seed % 2 else rng.random((count, 2)) * 50
    assert (worst_crossing(outline) is not None) == crosses(outline.astype(np.float64))


def test_long_outlines_are_searched_in_blocks() -> None:
    """2000 edges from left to right: two million pairs overlap in x."""
    count = 2000
    y = np.repeat(np.arange(count // 2), 2).astype(np.float64) * 2
    x = np.tile([0.0, 100.0, 100.0, 0.0], count // 4)
    comb = np.stack([x, y + np.arange(count) % 2], axis=1)
    comb = np.concatenate([comb, [[-1, y[-1] + 1], [-1, 0]]])
    assert worst_crossing(comb) is None
    comb[-1] = (50, 4.2)
    assert worst_crossing(comb) is not None
