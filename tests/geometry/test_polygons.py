from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.geometry.polygons import (
    clip_polygons,
    part_area,
    polygons_area,
    polygons_to_boxes,
    transform_polygons,
)
from crispmask.geometry.raster import rasterise
from crispmask.types import Part

SQUARE = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], dtype=np.float32)


def star(seed: int, points: int, size: float = 30, grid: float = 0) -> Part:
    """An often concave ring around (10, 8), simple unless `grid` snaps it to multiples."""
    rng = np.random.default_rng(seed)
    angles = 2 * math.pi * (np.arange(points) + rng.uniform(0, 0.4, points)) / points
    radii = rng.uniform(1, size, points)
    ring = np.stack([10 + radii * np.cos(angles), 8 + radii * np.sin(angles)], 1)
    if grid:
        ring = np.round(ring / grid) * grid
    return ring.astype(np.float32)


def test_area_is_signed_by_the_turn() -> None:
    assert part_area(SQUARE) == 16
    assert part_area(SQUARE[::-1]) == -16
    assert part_area(SQUARE[:2]) == 0
    assert part_area(SQUARE + np.float32(100_000)) == 16


def test_area_of_holes_and_parts() -> None:
    hole, beside = SQUARE / 2 + 1, SQUARE + np.float32([10, 0])
    assert polygons_area(()) == 0
    assert polygons_area((SQUARE[::-1],)) == 16
    assert polygons_area((SQUARE, hole)) == 12
    assert polygons_area((SQUARE, hole[::-1], beside)) == 28
    assert polygons_area((SQUARE, SQUARE + np.float32([4, 0]))) == 32  # they share an edge


@given(st.integers(0, 10_000), st.integers(3, 12))
@settings(max_examples=60, deadline=None)
def test_even_odd_area_agrees_with_shoelace(seed: int, points: int) -> None:
    outer = star(seed, points)
    inner = (outer - [10, 8]) / 2 + [10, 8]
    assert polygons_area((outer, inner.astype(np.float32))) == pytest.approx(
        0.75 * abs(part_area(outer)), rel=1e-4, abs=1e-3
    )


def test_boxes_cover_all_parts_and_empty_instances_are_zero() -> None:
    boxes = polygons_to_boxes(((SQUARE, SQUARE + np.float32([10, -3])), (), (SQUARE,)))
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[0, -3, 14, 4], [0, 0, 0, 0], [0, 0, 4, 4]]
    assert polygons_to_boxes(()).shape == (0, 4)


def test_transform_maps_points_and_keeps_the_structure() -> None:
    matrix = np.array([[0, -2, 5], [2, 0, 1]], dtype=np.float64)
    (moved, empty) = transform_polygons(((SQUARE,), ()), matrix)
    assert empty == ()
    assert moved[0].dtype == np.float32
    assert moved[0].tolist() == [[5, 1], [5, 9], [-3, 9], [-3, 1]]
    assert SQUARE[1].tolist() == [4, 0]


def test_clip_leaves_what_is_inside_alone() -> None:
    ((part,),) = clip_polygons(((SQUARE,),), (4, 4))
    assert part is SQUARE


def test_clip_drops_what_is_outside_or_degenerate() -> None:
    outside = SQUARE + np.float32([4, 0])  # touches the border line
    line = np.array([[1, 1], [3, 1], [2, 1]], dtype=np.float32)
    assert clip_polygons(((outside, line), (SQUARE[:2],), ()), (4, 4)) == ((), (), ())


def test_clip_splits_a_ring_without_a_bridge() -> None:
    # A comb hanging over the bottom border: two teeth stay.
    comb = np.array(
        [[1, 2], [3, 2], [3, 7], [6, 7], [6, 3], [8, 3], [8, 9], [1, 9]], dtype=np.float32
    )
    (teeth,) = clip_polygons(((comb,),), (5, 10))
    boxes = polygons_to_boxes(tuple((tooth,) for tooth in teeth))
    assert sorted(boxes.tolist()) == [[1, 2, 3, 5], [6, 3, 8, 5]]


def test_clip_around_a_corner_does_not_stretch_the_box() -> None:
    # Leaves to the right between y 1 and 2, returns to x <= 5 only far below the image.
    hook = np.array(
        [[1, 1], [9, 1], [9, 20], [2, 20], [2, 15], [7, 15], [7, 2], [1, 2]], dtype=np.float32
    )
    parts = clip_polygons(((hook,),), (8, 5))
    assert polygons_to_boxes(parts).tolist() == [[1, 1, 5, 2]]


@given(st.integers(0, 10_000), st.integers(3, 25), st.sampled_from([0, 0.5, 1, 4]))
@settings(max_examples=150, deadline=None)
def test_clip_keeps_mask_area_and_bounds(seed: int, points: int, grid: float) -> None:
    ring = star(seed, points, grid=grid)
    size = (18, 23)
    clipped = clip_polygons(((ring,),), size)
    # Beside the grid, because the border points are rounded: edges through pixel centres
    # would decide either way.
    offset = np.float32([0.0123, 0.0071])
    before, after = ((ring + offset,),), (tuple(part + offset for part in clipped[0]),)
    np.testing.assert_array_equal(rasterise(before, size), rasterise(after, size))
    if not grid:
        fine = (tuple(part * 16 for part in clipped[0]),)
        area = rasterise(fine, (size[0] * 16, size[1] * 16)).sum() / 16**2
        assert polygons_area(clipped[0]) == pytest.approx(area, abs=1.5)
    for part in clipped[0]:
        assert len(part) >= 3
        assert part.min() >= 0
        assert part[:, 0].max() <= 23
        assert part[:, 1].max() <= 18


@given(st.integers(0, 10_000), st.integers(3, 25))
@settings(max_examples=60, deadline=None)
def test_clipped_box_is_the_extent_of_the_visible_area(seed: int, points: int) -> None:
    size = (18, 23)
    clipped = clip_polygons(((star(seed, points),),), size)
    fine = tuple((part * 8).astype(np.float32) for part in clipped[0])
    (mask,) = rasterise((fine,), (size[0] * 8, size[1] * 8))
    (box,) = polygons_to_boxes(clipped)
    if mask.any():
        ys, xs = np.nonzero(mask)
        extent = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / 8
        assert box[0] <= extent[0] + 1 / 8
        assert box[1] <= extent[1] + 1 / 8
        assert box[2] >= extent[2] - 1 / 8
        assert box[3] >= extent[3] - 1 / 8
