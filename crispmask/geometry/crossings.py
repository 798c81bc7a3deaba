"""Where an outline crosses itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.polygons import part_area
from crispmask.types import Part

_PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Crossing:
    """Two edges of a ring that cross.

    Attributes:
        point: xy where they do.
        loop_area: area, without sign, of the smaller of the two rings the crossing divides the
            ring into.
    """

    point: tuple[float, float]
    loop_area: float


def worst_crossing(ring: Part | NDArray[np.float64]) -> Crossing | None:
    """The crossing of a ring with the largest loop; None if it has none.

    Only edges that truly cross count: a ring may touch itself, and may walk an edge there and
    back.

    Args:
        ring: (V, 2), not closed.
    """
    points = np.asarray(ring, dtype=np.float64)
    first, second = _crossing_edges(points)
    worst = None
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        point = _meeting_point(points, i, j)
        loop = np.concatenate([point[None], points[i + 1 : j + 1]])
        rest = np.concatenate([point[None], points[j + 1 :], points[: i + 1]])
        area = min(abs(part_area(loop)), abs(part_area(rest)))
        if worst is None or area > worst.loop_area:
            worst = Crossing((float(point[0]), float(point[1])), area)
    return worst


def _crossing_edges(points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Edges i < j that cross; edge i runs from point i to the next one."""
    none = np.zeros(0, dtype=np.int64)
    count = len(points)
    if count < 4:
        return none, none
    after = np.roll(points, -1, axis=0)
    low, high = np.minimum(points, after), np.maximum(points, after)
    # Sorted by their left end, an edge can only meet those that begin before it ends.
    order = np.argsort(low[:, 0], kind="stable")
    ends = np.searchsorted(low[order, 0], high[order, 0], side="right")
    spans = np.maximum(ends - np.arange(count) - 1, 0)
    found = [(none, none)]
    # In blocks: a long outline whose edges are all long has very many pairs.
    block = np.cumsum(spans) // _PAIRS_AT_ONCE
    for number in np.unique(block):
        here = np.flatnonzero(block == number)
        a = np.repeat(here, spans[here])
        offset = np.arange(len(a)) - np.repeat(np.cumsum(spans[here]) - spans[here], spans[here])
        i, j = order[a], order[a + offset + 1]
        near = (low[i, 1] < high[j, 1]) & (low[j, 1] < high[i, 1])
        i, j = i[near], j[near]
        crosses = (_side(points, after, i, points[j]) * _side(points, after, i, after[j]) < 0) & (
            _side(points, after, j, points[i]) * _side(points, after, j, after[i]) < 0
        )
        i, j = i[crosses], j[crosses]
        found.append((np.minimum(i, j), np.maximum(i, j)))
    return np.concatenate([f for f, _ in found]), np.concatenate([s for _, s in found])


def _side(
    points: NDArray[np.float64],
    after: NDArray[np.float64],
    edge: NDArray[np.int64],
    other: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sign of the side of each edge its other point (M, 2) lies on; 0 on the line."""
    along, across = after[edge] - points[edge], other - points[edge]
    turn = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    # The product of two sides must not underflow, and rounding is no side.
    size = np.abs(along).sum(axis=1) * np.abs(across).sum(axis=1)
    return np.where(np.abs(turn) <= 1e-12 * size, 0.0, np.sign(turn))


def _meeting_point(points: NDArray[np.float64], i: int, j: int) -> NDArray[np.float64]:
    a, b = points[i], points[(i + 1) % len(points)]
    c, d = points[j], points[(j + 1) % len(points)]
    u, v, w = b - a, d - c, c - a
    t = (w[0] * v[1] - w[1] * v[0]) / (u[0] * v[1] - u[1] * v[0])
    return np.asarray(a + t * u)
