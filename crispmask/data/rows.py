"""The text of a label file as rows: one per instance, `class x1 y1 x2 y2 x3 y3 ...`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 0.01
"""Coordinates up to this far outside [0, 1] are taken as rounding and clipped."""

Kind = Literal["number", "class", "box", "points", "range"]
"""What is wrong: a field that is no number, the class, a box in place of a polygon, too few
points or half of one, a coordinate out of range."""


@dataclass(frozen=True, slots=True)
class Row:
    """One instance as it is written.

    Attributes:
        line: of the file, from 1.
        label: class index; in a good row below the number of classes.
        points: (V, 2) float64 xy, rings, closing points and bridges as they stand there; in a
            good row between -TOLERANCE and 1 + TOLERANCE.
    """

    line: int
    label: int
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row is not used.

    Attributes:
        line: of the file, from 1.
        kind: what is wrong.
        message: the same in words, and what to do.
        row: what could be read: with kind `class` its label is too high, with `range` its
            points are finite but outside, with `box` they are centre and size; else None.
    """

    line: int
    kind: Kind
    message: str
    row: Row | None = None


class _RowError(Exception):
    """Kind and message of a problem, and what could be read."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        label: int = -1,
        points: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.label = label
        self.points = points


def parse_rows(text: str, num_classes: int) -> tuple[list[Row], list[RowProblem]]:
    """The good rows of a label file and what is wrong with the others, both in order.

    Blank lines and what follows a # are left out. Rows that are there twice are returned twice.

    Args:
        text: content of the file.
        num_classes: labels must be below.
    """
    rows: list[Row] = []
    problems: list[RowProblem] = []
    for line, content in enumerate(text.splitlines(), start=1):
        fields = content.partition("#")[0].split()
        if not fields:
            continue
        try:
            rows.append(Row(line, *_parse_row(fields, num_classes)))
        except _RowError as error:
            row = None if error.points is None else Row(line, error.label, error.points)
            problems.append(RowProblem(line, error.kind, error.message, row))
    return rows, problems


def _parse_row(fields: list[str], num_classes: int) -> tuple[int, NDArray[np.float64]]:
    """Label and points (V, 2) of a row; raises `_RowError`."""
    try:
        values = [float(field) for field in fields]
    except ValueError:
        bad = next(field for field in fields if not _is_number(field))
        raise _RowError(
            "number", f"'{bad[:40]}' is not a number; write class x1 y1 x2 y2 x3 y3 ..."
        ) from None
    label = values[0]
    if not label.is_integer() or label < 0:
        raise _RowError(
            "class", f"class '{fields[0]}' is not a whole number from 0 up; write the label"
        )
    points = np.array(values[1:], dtype=np.float64)
    low, high = points.min(initial=0.0), points.max(initial=0.0)  # not a number if one is not
    if not (np.isfinite(low) and np.isfinite(high)):
        raise _RowError(
            "range", "a coordinate is not finite; draw the polygon again or remove the row"
        )
    count = len(points)
    if count == 4:
        raise _RowError(
            "box",
            "a box, not a polygon; segmentation needs polygons, class x1 y1 x2 y2 x3 y3 ...",
            int(label),
            points.reshape(-1, 2),
        )
    if count % 2:
        raise _RowError("points", f"{count} coordinates, an odd number; each point needs x and y")
    if count < 6:
        raise _RowError(
            "points", f"{count // 2} points, fewer than 3; draw a polygon or remove the row"
        )
    points = points.reshape(-1, 2)
    if label >= num_classes:
        raise _RowError(
            "class",
            f"class {label:.0f} but data.yaml has {num_classes} "
            f"({'only 0' if num_classes == 1 else f'0 to {num_classes - 1}'}); "
            "correct the row or add the class",
            int(label),
            points,
        )
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        worst = low if low < -TOLERANCE else high
        raise _RowError(
            "range",
            f"coordinate {worst:g} is outside 0 to 1; divide x by the width of the image, "
            "y by its height",
            int(label),
            points,
        )
    return int(label), points


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
