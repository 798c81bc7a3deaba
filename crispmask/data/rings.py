"""The rings of an instance as one row of a label file, and back.

An instance of several parts is one row whose rings follow each other. A ring ends where it
returns to its own first point; after each ring but the first comes the first point of the row
again. A reader that knows nothing of parts thus sees one outline with bridges of zero width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crispmask.types import Part, Size


def split_rings(points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Cuts the points of a row where a ring has returned to its own first point.

    A ring has at least three different points. What is left after the last closed ring is
    joined with the first point of the row: a reader that knows nothing of parts sees it so.

    Args:
        points: (V, 2), as written.

    Returns:
        Rings, not closed; at least one.
    """
    rings: list[NDArray[np.float64]] = []
    start = 0
    while start < len(points):
        if len(rings) > 1 and (points[start] == points[0]).all():
            start += 1  # the way back from the ring before
        repeats = np.flatnonzero((points[start + 1 :] == points[start : start + 1]).all(axis=1))
        for end in (repeats + start + 1).tolist():
            if _is_ring(points[start:end]):
                rings.append(points[start:end])
                start = end + 1
                break
        else:
            rest = points[start:]
            if not rings:
                return [rest]
            rest = np.concatenate([points[:1], rest])
            return [*rings, rest] if _is_ring(rest) else rings
    return rings


def _is_ring(points: NDArray[np.float64]) -> bool:
    return len(points) >= 3 and len(np.unique(points, axis=0)) >= 3


def format_label_line(label: int, parts: tuple[Part, ...], size: Size) -> str:
    """The row of an instance, without the end of the line; empty if no part has an area.

    Coordinates have the digits that give the same float32 again. Points outside the image are
    moved to its border, repeated points are left out.

    Args:
        label: class index.
        parts: rings in pixels.
        size: (height, width) of the image.
    """
    height, width = size
    scale = np.array([width, height], dtype=np.float64)
    rings = [_as_written((part / scale).clip(0, 1).astype(np.float32)) for part in parts]
    rings = [ring for ring in rings if len(ring) >= 3]
    if len(rings) > 1:
        first = rings[0]
        closed = [np.concatenate([ring, ring[:1], first[:1]]) for ring in rings[1:]]
        rings = [first, first[:1], *closed]
    if not rings:
        return ""
    return " ".join([str(label), *np.concatenate(rings).ravel().astype(str).tolist()])


def _as_written(ring: Part) -> Part:
    """The ring without repeats, begun at a point it passes only once: there it ends."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    _, inverse, counts = np.unique(ring, axis=0, return_inverse=True, return_counts=True)
    once = np.flatnonzero(counts[inverse.reshape(-1)] == 1)
    return np.roll(ring, -once[0], axis=0) if len(once) else ring
