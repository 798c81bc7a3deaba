from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from augment_references import empty_sample, smooth_sample

from crispmask.augment.flip import flip_horizontal, flip_vertical
from crispmask.geometry.raster import rasterise
from crispmask.types import Sample


@pytest.mark.parametrize(("flip", "axis"), [(flip_horizontal, 1), (flip_vertical, 0)])
def test_flip_mirrors_image_and_masks(flip: Callable[[Sample], Sample], axis: int) -> None:
    sample = smooth_sample(0)
    flipped = flip(sample)
    np.testing.assert_array_equal(flipped.image, np.flip(sample.image, axis))
    size = sample.image.shape[:2]
    masks = rasterise(flipped.polygons, size)
    # Beyond edges through pixel centres, which belong to their right or lower side.
    expected = np.flip(rasterise(sample.polygons, size), axis + 1)
    assert (masks != expected).sum() <= 24
    assert [len(parts) for parts in flipped.polygons] == [3, 1]
    assert flipped.labels is sample.labels
    twice = flip(flipped)
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_allclose(twice.polygons[0][0], sample.polygons[0][0], atol=1e-5)


def test_flip_without_instances() -> None:
    assert flip_horizontal(flip_vertical(empty_sample(3, 5))).polygons == ()
