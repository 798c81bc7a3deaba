from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.polygons import part_area
from crispmask.geometry.raster import rasterise

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


@given(masks)
@settings(max_examples=200, deadline=None)
def test_rasterising_the_outline_gives_the_mask(mask: NDArray[np.bool_]) -> None:
    parts = mask_to_parts(mask)
    np.testing.assert_array_equal(rasterise((parts,), mask.shape)[0], mask)
    for part in parts:
        assert part.dtype == np.float32
        steps = np.roll(part, -1, axis=0) - part
        assert ((steps == 0).sum(axis=1) == 1).all()  # along one axis
        turns = (steps != 0)[:, 0]
        assert (turns != np.roll(turns, 1)).all()  # no collinear points
        assert len(np.unique(part, axis=0)) >= 4


def test_empty_mask_has_no_parts() -> None:
    assert mask_to_parts(np.zeros((3, 4), dtype=bool)) == ()
    assert mask_to_parts(np.zeros((0, 4), dtype=bool)) == ()


def test_square_with_a_hole() -> None:
    mask = np.zeros((7, 8), dtype=bool)
    mask[1:6, 2:7] = True
    mask[3, 4] = False
    outer, hole = mask_to_parts(mask)
    assert outer.tolist() == [[2, 1], [7, 1], [7, 6], [2, 6]]
    assert abs(part_area(hole)) == 1


def test_regions_that_touch_at_a_corner_are_separate() -> None:
    for mask in (np.eye(3, dtype=bool), np.eye(3, dtype=bool)[::-1]):
        parts = mask_to_parts(mask)
        assert [abs(part_area(part)) for part in parts] == [1, 1, 1]
