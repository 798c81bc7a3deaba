"""The boundary of masks against erosion step by step."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from crispmask.geometry.boundary import boundaries
from crispmask.geometry.mask_runs import read_rles, runs_of
from crispmask.geometry.rle import encode_masks


def eroded(mask: np.ndarray) -> np.ndarray:
    """As the reference code of the paper does it."""
    height, width = mask.shape
    steps = max(1, round(float(0.02 * np.sqrt(height**2 + width**2))))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    small = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=steps)
    return mask & ~small[1:-1, 1:-1].astype(bool)


@pytest.mark.parametrize("seed", range(20))
def test_equals_erosion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 300)), int(rng.integers(1, 300)))
    coarse = rng.random((3, size[0] // 20 + 1, size[1] // 20 + 1)) < 0.6
    masks = coarse.repeat(20, axis=1).repeat(20, axis=2)[:, : size[0], : size[1]]
    masks[0] &= rng.random(size) < 0.999
    masks[2, :, : size[1] // 2] = False
    found = boundaries(read_rles(encode_masks(masks))).dense()
    for mask, boundary in zip(masks, found, strict=True):
        np.testing.assert_array_equal(boundary, eroded(mask))


@pytest.mark.parametrize("seed", range(20))
def test_runs_of_rle_are_those_of_the_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(1, 60)), int(rng.integers(1, 60)))
    masks = rng.random((4, *size)) < np.array([0, 0.1, 0.5, 1])[:, None, None]
    read, expected = read_rles(encode_masks(masks)), runs_of(masks, size)
    assert read.size == expected.size
    for mine, theirs in zip(read.spans, expected.spans, strict=True):
        np.testing.assert_array_equal(mine, theirs)
