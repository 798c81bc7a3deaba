from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Polygons, Size


def rasterise_slowly(polygons: Polygons, size: Size, stride: int) -> NDArray[np.bool_]:
    """Casts a ray to the left of every pixel centre and counts the edges it crosses."""
    h, w = -(-size[0] // stride), -(-size[1] // stride)
    masks = np.zeros((len(polygons), h, w), dtype=bool)
    for n, parts in enumerate(polygons):
        for i in range(h):
            for j in range(w):
                x, y = (j + 0.5) * stride, (i + 0.5) * stride
                for part in parts:
                    for k in range(len(part)):
                        a, b = sorted(
                            [part[k].tolist(), part[(k + 1) % len(part)].tolist()],
                            key=lambda point: point[1],
                        )
                        if a[1] <= y < b[1]:
                            slope = (b[0] - a[0]) / (b[1] - a[1])
                            masks[n, i, j] ^= a[0] + (y - a[1]) * slope <= x
    return masks


def ring(*points: tuple[float, float]) -> Part:
    return np.array(points, dtype=np.float32)


rings = st.lists(
    st.tuples(*[st.integers(-8, 40).map(lambda v: v / 2)] * 2), min_size=0, max_size=8
).map(lambda points: np.array(points, dtype=np.float32).reshape(-1, 2))
instances = st.lists(st.lists(rings, max_size=3).map(tuple), max_size=3).map(tuple)


@given(instances, st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2, 3, 4]))
@settings(max_examples=150, deadline=None)
def test_agrees_with_counting_edges_pixel_by_pixel(
    polygons: Polygons, height: int, width: int, stride: int
) -> None:
    masks = rasterise(polygons, (height, width), stride)
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, rasterise_slowly(polygons, (height, width), stride))


def test_no_instances_and_instances_without_parts() -> None:
    assert rasterise((), (5, 9), 4).shape == (0, 2, 3)
    empty = rasterise(((), (np.zeros((0, 2), np.float32),)), (5, 9), 4)
    assert empty.shape == (2, 2, 3)
    assert not empty.any()


def test_whole_image_covers_every_pixel() -> None:
    assert rasterise(((ring((0, 0), (9, 0), (9, 5), (0, 5)),),), (5, 9)).all()
    assert rasterise(((ring((0, 0), (9, 0), (9, 5), (0, 5)),),), (5, 9), 2).shape == (1, 3, 5)


def test_hole_and_second_part() -> None:
    outer, hole = ring((1, 1), (7, 1), (7, 7), (1, 7)), ring((3, 3), (3, 5), (5, 5), (5, 3))
    beside = ring((8, 0), (9, 0), (9, 2), (8, 2))
    (mask,) = rasterise(((outer, hole, beside),), (8, 9))
    assert mask.sum() == 36 - 4 + 2
    assert not mask[3:5, 3:5].any()
    assert mask[0:2, 8].all()


@pytest.mark.parametrize("shift", [0, 0.25, 0.5, 1 / 3])
def test_bridges_of_zero_width_vanish(shift: float) -> None:
    squares = ring((1, 1), (4, 1), (4, 4), (1, 4)), ring((9.3, 7.1), (12, 7), (12, 9), (9, 9))
    bridged = np.concatenate([squares[0], squares[0][:1], squares[1], squares[1][:1]])
    two = rasterise(((tuple(part + np.float32(shift) for part in squares)),), (12, 15))
    one = rasterise((((bridged + np.float32(shift)),),), (12, 15))
    np.testing.assert_array_equal(one, two)


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_triangles_that_share_edges_tile(seed: int) -> None:
    rng = np.random.default_rng(seed)
    middle = rng.uniform(1, 11, 2).round(int(rng.integers(0, 3)))
    corners = np.array([[0, 0], [12, 0], [12, 12], [0, 12]])
    triangles = tuple(
        (np.stack([corners[k], corners[(k + 1) % 4], middle]).astype(np.float32),) for k in range(4)
    )
    assert (rasterise(triangles, (12, 12)).sum(0) == 1).all()
