"""Measures, transforms and clipping of polygons.

Frame: continuous pixels, the image spans [0, W] x [0, H]. Even-odd rule for instances of
several parts. V counts the vertices of a part, N the instances.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crispmask.types import Part, Polygons, Size

T = TypeVar("T", bound=np.floating[Any])


def part_area(part: Part) -> float:
    """Signed area of a ring by the shoelace formula; positive if it turns from +x to +y.

    Args:
        part: (V, 2), not closed; fewer than three points have no area.
    """
    if len(part) < 3:
        return 0.0
    # Relative to its own corner a small ring far from the origin loses no digits.
    x, y = (part.astype(np.float64) - part[0]).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def polygons_area(parts: Sequence[Part]) -> float:
    """Area of one instance: of a single ring by the shoelace formula, else by even-odd.

    The even-odd area is exact as long as rings do not cross each other; they may be nested,
    touch or share edges.
    """
    rings = [part for part in parts if len(part) >= 3]
    if len(rings) <= 1:
        return sum(abs(part_area(ring)) for ring in rings)
    edges = np.concatenate([np.stack([ring, np.roll(ring, -1, axis=0)], 1) for ring in rings])
    edges = edges.astype(np.float64)  # (E, 2, 2)
    edges = np.take_along_axis(edges, edges[:, :, 1:].argsort(axis=1), axis=1)  # upwards
    # Between two neighbouring vertex heights nothing begins or ends, so the filled widths at
    # half height times the height of that slab are its area.
    heights = np.unique(edges[:, :, 1])
    first = np.searchsorted(heights, edges[:, 0, 1])
    spans = np.searchsorted(heights, edges[:, 1, 1]) - first
    edge = np.repeat(np.arange(len(edges)), spans)
    slab = np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans, spans) + first[edge]
    (x0, y0), (x1, y1) = edges[edge, 0].T, edges[edge, 1].T
    middle = (heights[slab] + heights[slab + 1]) / 2
    x = x0 + (middle - y0) / (y1 - y0) * (x1 - x0)
    order = np.lexsort((x, slab))
    widths = x[order[1::2]] - x[order[0::2]]  # each slab holds an even number of edges
    return float(widths @ np.diff(heights)[slab[order[0::2]]])


def polygons_to_boxes(polygons: Polygons) -> NDArray[np.float32]:
    """Extent of each instance over its parts, (N, 4) xyxy; zeros where it has no points."""
    boxes = np.zeros((len(polygons), 4), dtype=np.float32)
    counts = np.array([sum(map(len, parts)) for parts in polygons], dtype=np.int64)
    filled = np.flatnonzero(counts)
    if len(filled):
        points = np.concatenate([part for parts in polygons for part in parts])
        boxes[filled] = _extents(points, counts[filled])
    return boxes


def _extents(points: Part, counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Boxes of runs of `counts` points, none of them empty."""
    starts = np.cumsum(counts) - counts
    low, high = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
    return np.concatenate([low, high], axis=1)


def transform_polygons(polygons: Polygons, matrix: NDArray[np.float64]) -> Polygons:
    """Maps every point p to matrix @ (p, 1).

    Straight edges stay straight. With perspective, what is not in front of the viewer is cut
    off; an instance may end without parts.

    Args:
        polygons: N instances.
        matrix: (2, 3) affine or (3, 3), from the old frame to the new one, both continuous.
    """
    rings = [part for parts in polygons for part in parts]
    if not rings:
        return polygons
    points = np.concatenate(rings)  # all at once: a call per part would take most of the time
    moved = points @ matrix[:2, :2].T + matrix[:2, 2]
    if len(matrix) == 3 and matrix[2].tolist() != [0, 0, 1]:
        depth = points @ matrix[2, :2] + matrix[2, 2]
        if depth.min() < NEAREST:
            return transform_polygons(_in_front(polygons, matrix[2]), matrix)
        moved /= depth[:, None]
    pieces = iter(np.split(moved.astype(np.float32), np.cumsum([len(ring) for ring in rings])[:-1]))
    return tuple(tuple(next(pieces) for _ in parts) for parts in polygons)


NEAREST = 0.01
"""Depth below which nothing is drawn; the centre of what is tilted has the depth 1."""


def _in_front(polygons: Polygons, row: NDArray[np.float64]) -> Polygons:
    """The pieces of instances with a depth, row @ (p, 1), well above `NEAREST`."""
    slope = float(np.hypot(*row[:2]))
    if slope == 0:  # the depth is the same everywhere, and too small
        return tuple(() for _ in polygons)
    x, y = row[:2] / slope
    # In this turned frame depth grows along the first axis.
    turn = np.array([[x, y], [-y, x]])
    limit = (2 * NEAREST - row[2]) / slope  # not at NEAREST: rounding could fall below it
    return tuple(
        tuple(
            (piece.astype(np.float64) @ turn).astype(np.float32)
            for part in parts
            if len(part) >= 3
            for piece in _cut((part @ turn.T).astype(np.float32), 0, limit, 1)
            if len(piece) >= 3
        )
        for parts in polygons
    )


def clip_polygons(polygons: Polygons, size: Size) -> Polygons:
    """Cuts each part to [0, W] x [0, H].

    A part that leaves and returns falls apart into several parts, without bridges along the
    border, so that boxes of the result are exact. Parts with nothing left vanish; an
    instance may end without parts.

    Args:
        polygons: N instances.
        size: (H, W).
    """
    return clip_to_box(polygons, (0, 0, size[1], size[0]))


def clip_to_box(polygons: Polygons, box: tuple[float, float, float, float]) -> Polygons:
    """`clip_polygons` for any box, xyxy."""
    rings = [part for parts in polygons for part in parts if len(part)]
    if not rings:
        return tuple(() for _ in polygons)
    extents = _extents(np.concatenate(rings), np.array([len(ring) for ring in rings]))
    rows = iter(extents.tolist())
    return tuple(
        tuple(piece for part in parts if len(part) for piece in _clip_part(part, next(rows), box))
        for parts in polygons
    )


def _clip_part(
    part: Part, extent: list[float], box: tuple[float, float, float, float]
) -> list[Part]:
    """The pieces of one ring with this extent inside a box."""
    x1, y1, x2, y2 = extent
    left, top, right, bottom = box
    if x1 >= right or y1 >= bottom or x2 <= left or y2 <= top or len(part) < 3:
        return []
    if x1 == x2 or y1 == y2:
        return []  # a line
    if x1 >= left and y1 >= top and x2 <= right and y2 <= bottom:
        return [part]
    rings = [part]
    for axis, limit, side, beyond in (
        (0, left, 1, x1 < left),
        (0, right, -1, x2 > right),
        (1, top, 1, y1 < top),
        (1, bottom, -1, y2 > bottom),
    ):
        if beyond:
            rings = [piece for ring in rings for piece in _cut(ring, axis, limit, side)]
    return [ring for ring in rings if len(ring) >= 3 and bool((np.ptp(ring, axis=0) > 0).all())]


def _cut(ring: Part, axis: int, limit: float, side: int) -> list[Part]:
    """The pieces of a ring where side * (coordinate - limit) >= 0.

    The ring enters and leaves the half-plane at points of the border line. Between the first
    and second of these along the line it is filled, between the third and fourth again: these
    pairs close the chains of inside points to rings.
    """
    distance = side * (ring[:, axis].astype(np.float64) - limit)
    inside = distance >= 0
    if inside.all():
        return [ring]
    following = np.concatenate([inside[1:], inside[:1]])
    leaves = np.flatnonzero(inside & ~following)
    if not len(leaves):
        return []
    enters = np.flatnonzero(~inside & following)
    if len(enters) == 1:  # nearly always; the rest of the function gives the same, slower
        i, j = int(enters[0]), int(leaves[0])
        chain = ring[i + 1 : j + 1] if i < j else np.concatenate([ring[i + 1 :], ring[: j + 1]])
        tips = _border_points(ring, distance, np.array([i, j]), axis, limit)
        return [without_repeats(np.concatenate([tips[:1], chain, tips[1:]]))]
    # Chain k runs from entry k to the exit after it.
    exits = leaves[np.searchsorted(leaves, enters) % len(leaves)]
    starts, ends = (_border_points(ring, distance, edges, axis, limit) for edges in (enters, exits))
    chains = [
        np.concatenate(
            [start[None], np.take(ring, range(i + 1, stop), axis=0, mode="wrap"), end[None]]
        )
        for start, end, i, stop in zip(
            starts,
            ends,
            enters,
            exits + 1 + np.where(exits < enters, len(ring), 0),
            strict=True,
        )
    ]
    along = np.concatenate([starts, ends])[:, 1 - axis]
    order = np.argsort(along, kind="stable").reshape(-1, 2)
    partner = np.empty(len(along), dtype=np.int64)  # of each start, then of each end
    partner[order] = order[:, ::-1]
    return [without_repeats(ring) for ring in _link(chains, partner.tolist())]


def _border_points(
    ring: Part, distance: NDArray[np.float64], edges: NDArray[np.int64], axis: int, limit: float
) -> Part:
    """Where the edges from each of these vertices to the next meet the border line."""
    after = (edges + 1) % len(ring)
    t = distance[edges] / (distance[edges] - distance[after])
    points = ring[edges] + t[:, None] * (ring[after] - ring[edges]).astype(np.float64)
    points[:, axis] = limit
    return points.astype(np.float32)


def _link(chains: list[Part], partner: list[int]) -> list[Part]:
    """Joins chains at their ends to rings; a chain may be walked backwards.

    Args:
        chains: K open chains.
        partner: for end k < K, the start of chain k, and K + k, the end of chain k, the end
            it is joined with.
    """
    count = len(chains)
    rings = []
    left = [True] * count
    for first in range(count):
        pieces = []
        tip = first  # we enter a chain at its tip and leave it at the other one
        while left[tip % count]:
            left[tip % count] = False
            chain = chains[tip % count]
            pieces.append(chain if tip < count else chain[::-1])
            tip = partner[(tip + count) % (2 * count)]
        if pieces:
            rings.append(np.concatenate(pieces))
    return rings


def without_repeats(ring: NDArray[T]) -> NDArray[T]:
    """The ring (V, 2) without points equal to their predecessor."""
    differs = ring != np.concatenate([ring[-1:], ring[:-1]])
    return ring[differs[:, 0] | differs[:, 1]]
