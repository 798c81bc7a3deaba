"""Label files: one row per instance, `class x1 y1 x2 y2 ...`, coordinates from 0 to 1.

An instance of several parts is one row whose rings follow each other. A ring ends where it
returns to its own first point; after each ring but the first comes the first point of the row
again. A reader that knows nothing of parts thus sees one outline with bridges of zero width.

Letters: N instances, P parts, V vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crispmask.errors import DatasetError
from crispmask.types import Part, Polygons, Size

TOLERANCE = 0.01
"""Coordinates up to this far outside [0, 1] are taken as rounding and clipped."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The instances of one image.

    Attributes:
        labels: (N,) int64.
        part_offsets: (N + 1,) int64; the parts of instance i are `part_offsets[i:i + 2]`.
        point_offsets: (P + 1,) int64; the points of part p are `point_offsets[p:p + 2]`.
        points: (V, 2) float32 xy in [0, 1].
    """

    labels: NDArray[np.int64]
    part_offsets: NDArray[np.int64]
    point_offsets: NDArray[np.int64]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def polygons(self, size: Size) -> Polygons:
        """The instances in pixels of an image of this (height, width)."""
        return scale_polygons(self.part_offsets, self.point_offsets, self.points, size)


def scale_polygons(
    part_offsets: NDArray[np.int64],
    point_offsets: NDArray[np.int64],
    points: NDArray[np.float32],
    size: Size,
) -> Polygons:
    """Normalised points as polygons in pixels.

    Args:
        part_offsets: (n + 1,) where the parts of n instances begin in `point_offsets`.
        point_offsets: (P + 1,) where the points of each part begin in `points`.
        points: (V, 2) in [0, 1].
        size: (height, width) of the image.
    """
    height, width = size
    first_part, end_part = int(part_offsets[0]), int(part_offsets[-1])
    bounds = point_offsets[first_part : end_part + 1]
    first, end = int(bounds[0]), int(bounds[-1])
    pixels = points[first:end] * np.array([width, height], dtype=np.float32)
    cuts = (bounds - first).tolist()
    parts = [pixels[a:b] for a, b in pairwise(cuts)]
    groups = (part_offsets - first_part).tolist()
    return tuple(tuple(parts[a:b]) for a, b in pairwise(groups))


def label_path(image: Path) -> Path:
    """The label file of an image: the last folder `images` becomes `labels`, the suffix .txt.

    Without such a folder it lies beside the image.
    """
    parts = list(image.parts[:-1])
    for i in reversed(range(len(parts))):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return Path(*parts, f"{image.stem}.txt")


def parse_label_file(path: Path, num_classes: int) -> Labels:
    """The instances of a label file; a missing or empty one has none.

    Raises:
        DatasetError: the first problem, and how many more there are.
    """
    labels, problems = read_labels(path, num_classes)
    if problems:
        raise DatasetError(join_problems(problems))
    return labels


def join_problems(problems: Sequence[str]) -> str:
    """One line for all of them: the first one and the number of others."""
    return problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def read_labels(path: Path, num_classes: int) -> tuple[Labels, list[str]]:
    """The instances of a label file and what is wrong with its other rows.

    Rows that are there twice count once. Blank lines and what follows a # are left out.

    Args:
        path: the file; a missing one has no instances.
        num_classes: labels must be below.

    Returns:
        The good rows, and a line "file:line: problem; fix" for each bad one.
    """
    rows: dict[tuple[int, bytes], NDArray[np.float64]] = {}
    problems = []
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        lines, problems = [], [f"{path}: {error.strerror}; make it readable or remove it"]
    except UnicodeDecodeError:
        lines, problems = [], [f"{path}: not UTF-8 text; save it as plain text"]
    for number, line in enumerate(lines, start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        try:
            label, points = _parse_row(fields, num_classes)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
        else:
            rows.setdefault((label, points.tobytes()), points)
    return _flatten([label for label, _ in rows], list(rows.values())), problems


def _parse_row(fields: list[str], num_classes: int) -> tuple[int, NDArray[np.float64]]:
    """Label and points (V, 2) of a row.

    Raises:
        ValueError: what is wrong and what to do.
    """
    try:
        values = [float(field) for field in fields]
    except ValueError:
        bad = next(field for field in fields if not _is_number(field))
        raise ValueError(
            f"'{bad[:40]}' is not a number; write class x1 y1 x2 y2 x3 y3 ..."
        ) from None
    label = values[0]
    if not label.is_integer() or label < 0:
        raise ValueError(f"class '{fields[0]}' is not a whole number from 0 up; write the label")
    if label >= num_classes:
        raise ValueError(
            f"class {label:.0f} but data.yaml has {num_classes} "
            f"({'only 0' if num_classes == 1 else f'0 to {num_classes - 1}'}); "
            "correct the row or add the class"
        )
    count = len(values) - 1
    if count == 4:
        raise ValueError(
            "a box, not a polygon; segmentation needs polygons, class x1 y1 x2 y2 x3 y3 ..."
        )
    if count % 2:
        raise ValueError(f"{count} coordinates, an odd number; each point needs x and y")
    if count < 6:
        raise ValueError(f"{count // 2} points, fewer than 3; draw a polygon or remove the row")
    points = np.array(values[1:], dtype=np.float64)
    low, high = points.min(), points.max()  # not a number if one is not
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("a coordinate is not finite; draw the polygon again or remove the row")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        worst = low if low < -TOLERANCE else high
        raise ValueError(
            f"coordinate {worst:g} is outside 0 to 1; divide x by the width of the image, "
            "y by its height"
        )
    return int(label), points.reshape(-1, 2)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _flatten(labels: list[int], rows: list[NDArray[np.float64]]) -> Labels:
    instances = [split_rings(points) for points in rows]
    rings = [ring for parts in instances for ring in parts]
    points = np.concatenate(rings) if rings else np.zeros((0, 2))
    return Labels(
        labels=np.array(labels, dtype=np.int64),
        part_offsets=_offsets([len(parts) for parts in instances]),
        point_offsets=_offsets([len(ring) for ring in rings]),
        points=points.clip(0, 1).astype(np.float32),
    )


def _offsets(counts: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)


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
