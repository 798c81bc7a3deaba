"""The rings of an instance as one row of a label file, and back.

An instance of several parts, or with holes, is one row. Two ways of writing it are in use, and
both are read:

- A ring ends where it returns to its own first point, and the next one begins.
- The rings are joined by bridges of zero width, walked there and back, to one outline. The
  bridge may begin in the middle of a ring.

What is written here is both at once: each ring is closed, and after each but the first comes the
first point of the row again. A reader that knows nothing of parts sees one outline with bridges.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.polygons import part_area, without_repeats
from crispmask.types import Part, Size


def split_rings(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The rings in the points of a row.

    Filled together by the even-odd rule they give what the row as a single outline gives, but
    for jumps between closed rings, which have no way back. A ring that only passes a point
    again, its first one or another, stays whole.

    Args:
        points: (V, 2), as written.

    Returns:
        Rings, not closed; at least one.
    """
    if len(points) > 3 and (points[0] == points[-1]).all():
        points = points[:-1]
    xy = np.ascontiguousarray(points).view(np.complex128)[:, 0]  # compared as one number
    if len(np.unique(xy)) == len(xy):
        return [points]
    walk = [*xy.tolist(), complex(xy[0])]
    closed = _closed_rings(walk)
    if closed is None or _jumps_along_edges(walk, closed):
        closed = [(0, len(points))]
    return [ring for first, end in closed for ring in _without_bridges(points[first:end])]


def _closed_rings(xy: list[complex]) -> list[tuple[int, int]] | None:
    """Bounds of the rings if the row is nothing but rings that return to their first point.

    Args:
        xy: points of the row, and its first one again.
    """
    places: dict[complex, list[int]] = {}
    for place, point in enumerate(xy):
        places.setdefault(point, []).append(place)
    rings: list[tuple[int, int]] = []
    start = 0
    while start < len(xy):
        if len(rings) > 1 and xy[start] == xy[0]:
            start += 1  # the way back from the ring before
            if start == len(xy):
                break
        returns = (place for place in places[xy[start]] if place - start >= 3)
        end = next((place for place in returns if len(set(xy[start:place])) >= 3), None)
        if end is None:
            return None
        rings.append((start, end))
        start = end + 1
    return rings


def _jumps_along_edges(walk: list[complex], rings: list[tuple[int, int]]) -> bool:
    """Whether a way between rings that has no way back is an edge of a ring.

    Then the rings only seem closed: parts of a chain of bridges return to a point by chance.

    Args:
        walk: points of the row, and its first one again.
        rings: bounds by `_closed_rings`.
    """
    inside = [False] * (len(walk) - 1)
    for start, end in rings:
        inside[start:end] = [True] * (end - start)
    edges = list(pairwise(walk))
    jumps: Counter[tuple[complex, complex]] = Counter()
    for (a, b), is_inside in zip(edges, inside, strict=True):
        if is_inside or a == b:
            continue
        if jumps[b, a] > 0:
            jumps[b, a] -= 1
        else:
            jumps[a, b] += 1
    one_way = {frozenset(edge) for edge, times in jumps.items() if times}
    return bool(one_way) and any(
        is_inside and frozenset(edge) in one_way
        for edge, is_inside in zip(edges, inside, strict=True)
    )


def _without_bridges(ring: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Cuts a ring where it has edges that are walked in both directions, and leaves these out.

    It stays as it is if that does not make several rings of it.
    """
    whole, ring = ring, without_repeats(ring)
    xy = ring.view(np.complex128)[:, 0].tolist()
    following = [*xy[1:], *xy[:1]]
    open_edges: dict[tuple[complex, complex], list[int]] = {}
    kept = [True] * len(xy)
    for i, (start, end) in enumerate(zip(xy, following, strict=True)):
        if back := open_edges.get((end, start)):
            kept[i] = kept[back.pop()] = False
        else:
            open_edges.setdefault((start, end), []).append(i)
    if all(kept) or not any(kept):
        return [whole]
    # Chains of edges that follow each other, from bridge to bridge, by their first point.
    first = next(i for i in range(len(xy)) if kept[i] and not kept[i - 1])
    chains: dict[complex, list[list[int]]] = {}
    for i in (*range(first, len(xy)), *range(first)):
        if kept[i] and not kept[i - 1]:
            chain = [i]
            chains.setdefault(xy[i], []).append(chain)
        elif kept[i]:
            chain.append(i)
    rings = []
    while chains:
        begin = next(iter(chains))
        indices: list[int] = []
        end = begin
        while not indices or end != begin:  # as many chains begin at a point as end there
            here = chains[end]
            chain = here.pop(0)
            if not here:
                del chains[end]
            indices += chain
            end = following[chain[-1]]
        rings.append(ring[indices])
    return rings if len(rings) > 1 else [whole]


def format_label_line(label: int, parts: tuple[Part, ...], size: Size) -> str:
    """The row of an instance, without the end of the line; empty if no part has an area.

    Coordinates have the digits that give the same float32 again. Points outside the image are
    moved to its border, repeated points are left out. The largest ring comes first.

    Args:
        label: class index.
        parts: rings in pixels.
        size: (height, width) of the image.
    """
    height, width = size
    scale = np.array([width, height], dtype=np.float64)
    rings = [without_repeats((part / scale).clip(0, 1).astype(np.float32)) for part in parts]
    rings = [ring for ring in rings if len(ring) >= 3]
    if not rings:
        return ""
    points = np.concatenate(_bridged(rings) if len(rings) > 1 else rings)
    return " ".join([str(label), *points.ravel().astype(str).tolist()])


def _bridged(rings: list[Part]) -> list[Part]:
    """Closed rings, after each but the first the first point of all.

    Where other readers draw the bridges they are a pixel wide, so these are short: the largest
    ring begins near the others, each other one at its point nearest to that.
    """
    rings = sorted(rings, key=lambda ring: -abs(part_area(ring)))
    hub, others = rings[0], rings[1:]
    starts = _starts(hub)[:: 1 + len(hub) // 500]  # many more would take gigabytes
    total = sum(_distances(hub[starts], ring[_starts(ring)]).min(axis=1) for ring in others)
    first = _begun_at(hub, int(starts[np.argmin(total)]))
    pieces = [first, first[:1]]
    for ring in others:
        starts = _starts(ring)
        ring = _begun_at(ring, int(starts[np.argmin(_distances(first[:1], ring[starts]))]))
        pieces += [ring, ring[:1], first[:1]]
    return pieces


def _starts(ring: Part) -> NDArray[np.int64]:
    """Where a ring may begin: at points it passes only once, for it ends where it returns."""
    _, inverse, counts = np.unique(ring, axis=0, return_inverse=True, return_counts=True)
    once = np.flatnonzero(counts[inverse.reshape(-1)] == 1)
    return once if len(once) else np.arange(len(ring))


def _begun_at(ring: Part, start: int) -> Part:
    return np.roll(ring, -start, axis=0)


def _distances(a: Part, b: Part) -> NDArray[np.float32]:
    return np.hypot(*(a[:, None] - b[None]).transpose(2, 0, 1))
