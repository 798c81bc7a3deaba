"""Polygons to masks, exactly at pixel centres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crispmask.types import Polygons, Size


def rasterise(polygons: Polygons, size: Size, stride: int = 1) -> NDArray[np.bool_]:
    """Masks of instances: a pixel is set iff its centre is inside by the even-odd rule.

    Centres exactly on an edge belong to the area on their right, or below a horizontal edge,
    so neighbours that share an edge neither overlap nor leave a gap. Bridges of zero width,
    an edge walked there and back, vanish.

    Args:
        polygons: N instances; points may lie outside the image.
        size: (H, W) of the image the polygons live in.
        stride: s, image pixels per mask pixel. The centre of mask pixel (i, j) is
            ((j + 0.5) s, (i + 0.5) s).

    Returns:
        (N, ceil(H / s), ceil(W / s)) bool.
    """
    h, w = -(-size[0] // stride), -(-size[1] // stride)
    masks = np.zeros((len(polygons), h, w), dtype=bool)
    starts, ends, counts = _edges(polygons)
    if not len(starts):
        return masks
    # Both directions of an edge are computed from the same end: else the two sides of a
    # bridge could differ in the last digit.
    upwards = (starts[:, 1] > ends[:, 1])[:, None]
    (x0, y0), (x1, y1) = np.where(upwards, ends, starts).T, np.where(upwards, starts, ends).T
    first = np.ceil(y0 / stride - 0.5).clip(0, h).astype(np.int64)
    spans = np.ceil(y1 / stride - 0.5).clip(0, h).astype(np.int64) - first
    # One crossing per edge and row of centres that it passes.
    edge = np.repeat(np.arange(len(spans)), spans)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans - first, spans)
    slope = (x1 - x0) / np.where(spans > 0, y1 - y0, 1)
    x = x0[edge] + ((row + 0.5) * stride - y0[edge]) * slope[edge]
    column = np.ceil(x / stride - 0.5).clip(0, w).astype(np.int64)
    crossings = np.concatenate([[0], np.cumsum(spans)])[np.cumsum(counts)]
    begin = 0
    for mask, end in zip(masks, crossings, strict=True):
        if end > begin:
            _fill(mask, row[begin:end], column[begin:end])
        begin = end
    return masks


def _edges(
    polygons: Polygons,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Starts (E, 2) and ends (E, 2) of all edges, and the number of edges per instance."""
    rings = [part for parts in polygons for part in parts]
    counts = np.array([sum(map(len, parts)) for parts in polygons], dtype=np.int64)
    if not counts.sum():
        return np.zeros((0, 2)), np.zeros((0, 2)), counts
    starts = np.concatenate(rings).astype(np.float64)
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:]
    last = np.cumsum([len(ring) for ring in rings if len(ring)]) - 1
    ends[last] = starts[np.concatenate([[0], last[:-1] + 1])]
    return starts, ends, counts


def _fill(mask: NDArray[np.bool_], row: NDArray[np.int64], column: NDArray[np.int64]) -> None:
    """Sets the pixels of `mask` that have an odd number of crossings at or left of them."""
    top, left = row.min(), column.min()
    height, width = row.max() + 1 - top, column.max() + 1 - left
    # Every row has an even number of crossings: row after row, what lies between the first
    # and second is filled, between the second and third empty, and so on.
    flips = np.sort((row - top) * width + (column - left))
    runs = np.diff(flips, prepend=0, append=height * width)
    filled = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    # The last column only ends runs; it may be past the image.
    mask[top : top + height, left : left + width - 1] = filled[:, :-1]
