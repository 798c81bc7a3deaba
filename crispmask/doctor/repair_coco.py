"""Label files for the images of COCO files, and what a change of a repaired copy is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from crispmask.data.coco_images import CocoSource
from crispmask.data.coco_rows import AnnotationProblem
from crispmask.data.rings import format_label_line
from crispmask.doctor.annotations import instances_of
from crispmask.doctor.rows import NO_AREA, line_text
from crispmask.geometry.crossings import worst_crossing
from crispmask.geometry.polygons import polygons_area
from crispmask.types import Size


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between the copy and the original.

    Attributes:
        file: of the original.
        line: of it, from 1; 0 if it is the file as a whole.
        change: what was done.
        reason: why.
    """

    file: Path
    line: int
    change: str
    reason: str


BoxMode = Literal["drop", "rectangle"]
"""What becomes of boxes without a polygon."""


def write_rows(source: CocoSource, i: int, target: Path, boxes: BoxMode) -> Iterator[Change]:
    """Writes the label file of image i; what it cannot say, or what is wrong, is left out.

    Args:
        source: of its split.
        i: position in it.
        target: the label file.
        boxes: what becomes of annotations that are boxes alone.
    """
    file, size = source.file(i), source.index.size(i)
    rows: dict[str, str] = {}
    for problem in source.problems.get(i, ()):
        row = _rectangle(problem, size) if boxes == "rectangle" else ""
        change = "box turned into a rectangle" if row else "annotation left out"
        reason = f"annotation {problem.annotation}: {problem.message.partition('; ')[0]}"
        yield Change(file, 0, change, reason)
        if row:
            rows.setdefault(row, problem.annotation)
    for instance, crowd in instances_of(source, i):
        parts = tuple(part.astype(np.float32) for part in instance.parts)
        row = format_label_line(instance.label, parts, size)
        flat = polygons_area(parts) < NO_AREA and not any(map(worst_crossing, parts))
        if crowd:
            reason = "a crowd, which label files cannot mark"
        elif instance.label < 0:
            reason = "its category is not among names"
        elif flat or not row:
            reason = "no area"
        elif row in rows:
            reason = f"the same as annotation {rows[row]}"
        else:
            rows[row] = line_text(instance.line)
            continue
        yield Change(
            file, 0, "annotation left out", f"annotation {line_text(instance.line)}: {reason}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes("".join(f"{row}\n" for row in rows).encode())


def _rectangle(problem: AnnotationProblem, size: Size) -> str:
    """The row of a box alone; empty if it is none, or nothing of it lies in the image."""
    if problem.label < 0 or not problem.box:
        return ""
    x, y, width, height = problem.box
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    corners = corners.clip(0, (size[1], size[0])).astype(np.float32)
    flat = polygons_area((corners,)) < NO_AREA
    return "" if flat else format_label_line(problem.label, (corners,), size)
