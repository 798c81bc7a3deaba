"""Label files for the images of COCO files, and what a change of a repaired copy is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crispmask.data.coco_images import CocoSource
from crispmask.data.rings import format_label_line
from crispmask.doctor.annotations import instances_of
from crispmask.doctor.rows import NO_AREA
from crispmask.geometry.crossings import worst_crossing
from crispmask.geometry.polygons import polygons_area


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


def write_rows(source: CocoSource, i: int, target: Path) -> Iterator[Change]:
    """Writes the label file of image i; what it cannot say, or what is wrong, is left out.

    Args:
        source: of its split.
        i: position in it.
        target: the label file.
    """
    file, size = source.file(i), source.index.size(i)
    for problem in source.problems.get(i, ()):
        reason = f"annotation {problem.annotation}: {problem.message.partition('; ')[0]}"
        yield Change(file, 0, "annotation left out", reason)
    rows: dict[str, int] = {}
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
            rows[row] = instance.line
            continue
        yield Change(file, 0, "annotation left out", f"annotation {instance.line}: {reason}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes("".join(f"{row}\n" for row in rows).encode())
