"""Masks to polygons, exactly along pixel edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import MaskRuns, mask_crop, mask_extent
from crispmask.types import Part, Polygons


def outlines(masks: NDArray[np.bool_] | MaskRuns) -> Polygons:
    """`mask_to_parts` of each mask (H, W), in image pixels."""
    found: list[tuple[Part, ...]] = []
    for i in range(len(masks)):
        box = mask_extent(masks, i)
        if box is None:
            found.append(())
            continue
        corner = np.array(box[:2], dtype=np.float32)
        found.append(tuple(p + corner for p in mask_to_parts(mask_crop(masks, i, box))))
    return tuple(found)


def mask_to_parts(mask: NDArray[np.bool_]) -> tuple[Part, ...]:
    """Outlines of a mask, holes included: rasterised together they give it again exactly.

    Only corners are kept. Regions that touch at a corner are separate rings.

    Args:
        mask: (H, W).

    Returns:
        Rings (V, 2) of whole numbers in mask pixels, ordered by their top left corner.
    """
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(ys):
        return ()
    top, left = ys[0], xs[0]
    padded = np.pad(mask[top : ys[-1] + 1, left : xs[-1] + 1], 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    # A grid point is a corner of the outline where one or three of its four pixels are set,
    # and of two outlines where the set ones are diagonal neighbours.
    double = (nw == se) & (ne == sw) & (nw != ne)
    single = nw ^ ne ^ sw ^ se
    y, x = np.nonzero(single | double)
    times = 1 + double[y, x]
    falling = np.repeat(nw[y, x], times)  # set pixels up left and down right, if double
    y, x = np.repeat(y, times), np.repeat(x, times)
    # Along a row of grid points corners are joined in pairs, first with second, third with
    # fourth; along a column as well. Of two corners at one point the first is joined to the
    # left. It must turn up if the pixels are falling, else down, to separate the regions.
    twin = np.arange(len(y)) - np.repeat(np.cumsum(times) - times, times)
    turn = np.where(falling, twin, -twin)
    beside = _pairs(np.arange(len(y)))  # np.nonzero has sorted by row, then column
    below = _pairs(np.lexsort((turn, y, x)))
    corners = np.stack([x + left, y + top], axis=1).astype(np.float32)
    return tuple(corners[ring] for ring in _rings(beside.tolist(), below.tolist()))


def _pairs(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The partner of each corner if those next to each other in `order` are joined."""
    partner = np.empty_like(order)
    partner[order[0::2]] = order[1::2]
    partner[order[1::2]] = order[0::2]
    return partner


def _rings(beside: list[int], below: list[int]) -> list[list[int]]:
    """Walks alternately along rows and columns until all corners are in a ring."""
    rings = []
    left = [True] * len(beside)
    for first in range(len(beside)):
        ring = []
        corner = first
        while left[corner]:
            other = beside[corner]
            left[corner] = left[other] = False
            ring += [corner, other]
            corner = below[other]
        if ring:
            rings.append(ring)
    return rings
