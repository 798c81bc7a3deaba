"""What the pixels of the file are made of: points of a coarse grid, and their weights.

Both sides of an image are treated alike, each by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Taps:
    """What the pixels along one side of the file are made of.

    Attributes:
        first: (n,) int64, the first of three neighbours on the coarse grid; ascending.
        weights: (3, n) float32, of the neighbours; their sum is 1.
    """

    first: NDArray[np.int64]
    weights: NDArray[np.float32]


@lru_cache(maxsize=64)
def make_taps(coarse: int, stride: int, valid: int, original: int) -> Taps:
    """Enlarging by `stride`, cutting to `valid` and resizing to `original`, as one step.

    Args:
        coarse: points on the coarse grid.
        stride: input pixels between them.
        valid: input pixels of the image.
        original: pixels of the file.
    """
    inner, inner_weight = _linear(coarse, coarse * stride)
    if valid == original:
        outer, outer_weight = np.arange(valid), np.zeros(valid)
    else:
        outer, outer_weight = _linear(valid, original)
    after = np.minimum(outer + 1, valid - 1)
    first = inner[outer]
    weights = np.zeros((4, original))  # the last stays zero, or belongs to no grid point
    place = np.arange(original)
    for pixel, share in ((outer, 1 - outer_weight), (after, outer_weight)):
        for step, part in ((0, 1 - inner_weight[pixel]), (1, inner_weight[pixel])):
            weights[inner[pixel] - first + step, place] += share * part
    return Taps(first.astype(np.int64), weights[:3].astype(np.float32))


def _linear(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lower neighbour of each new point, and the weight of the upper one; centres aligned."""
    position = np.maximum((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0)
    lower = np.minimum(position.astype(np.int64), size - 1)
    return lower, np.where(lower < size - 1, position - lower, 0.0)
