"""Instances pasted a second time, mirrored, where they cover others little.

As users of Ultralytics know it by the name `copy_paste` in the mode `flip`; its place is between
mosaic and the affine change. Nothing is cut from the instances below: their polygons stay
whole, as when one object stands before another one in a photograph.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.polygons import polygons_to_boxes
from crispmask.types import Polygons

MOST_COVERED = 0.3
"""Fraction of the box of any instance that a pasted box stays below."""


def choose_pasted(polygons: Polygons, width: float, fraction: float) -> list[int]:
    """The instances to paste, those that cover least first.

    Args:
        polygons: N visible instances on the canvas, those of all tiles.
        width: of the canvas; x becomes `width` - x.
        fraction: how many of the instances that may be pasted are.

    Returns:
        Positions in `polygons`.
    """
    boxes = polygons_to_boxes(polygons).astype(np.float64)
    mirrored = boxes * [-1, 1, -1, 1] + [width, 0, width, 0]
    covered = _covered(mirrored[:, [2, 1, 0, 3]], boxes)
    exists = np.array([bool(parts) for parts in polygons], dtype=bool)
    worst = covered[:, exists].max(axis=1, initial=0.0)
    allowed = np.flatnonzero(exists & (worst < MOST_COVERED))
    order = allowed[np.argsort(worst[allowed], kind="stable")]
    return order[: math.floor(fraction * len(order) + 0.5)].tolist()


def _covered(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A, B) fraction of each box below that lies under each box above."""
    low = np.maximum(above[:, None, :2], below[None, :, :2])
    high = np.minimum(above[:, None, 2:], below[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    area = (below[:, 2:] - below[:, :2]).prod(axis=1)
    return shared / np.maximum(area, 1e-9)
