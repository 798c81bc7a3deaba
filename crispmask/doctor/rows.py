"""What is wrong with the rows of one label file, and how large its instances are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.data.rings import split_rings
from crispmask.data.rows import Row, RowProblem, parse_rows
from crispmask.geometry.crossings import worst_crossing
from crispmask.geometry.polygons import polygons_area, polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Polygons, Size

MASK_STRIDE = 4
"""Input pixels per mask pixel of the training, its default."""

NO_AREA = 0.01
"""Square pixels; below, a polygon is a line or a point."""

_SMALL_LOOP = 1.0
"""Square pixels; a loop below changes no pixel and comes from rounding."""

_SAME = 0.95
"""Intersection over union from which two polygons are the same object drawn twice."""

_GRID = 64
_CODES = {
    "file": "label-unreadable",
    "number": "row-number",
    "class": "row-class",
    "box": "row-box",
    "points": "row-points",
    "range": "row-outside",
}


@dataclass(frozen=True, slots=True)
class RowFinding:
    """A problem of one row; attributes as in `Problem`."""

    code: str
    line: int
    message: str
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A good row in pixels.

    Attributes:
        line: of the label file, from 1; in a COCO file the id of its annotation.
        label: class index.
        parts: its rings (V, 2) float64, clipped to the image.
    """

    line: int
    label: int
    parts: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, slots=True)
class RowReport:
    """All that is known of a label file.

    Attributes:
        findings: its problems, by line.
        labels: (N,) int64, of the instances training would see.
        sides: (N, 2) float32, height and width of their boxes in pixels of the image.
        num_parts: rings of all instances.
    """

    findings: tuple[RowFinding, ...]
    labels: NDArray[np.int64]
    sides: NDArray[np.float32]
    num_parts: int


def check_rows(text: str, num_classes: int, size: Size, imgsz: int) -> RowReport:
    """Looks at every row of a label file.

    Args:
        text: its content.
        num_classes: labels must be below.
        size: (height, width) of the image.
        imgsz: longest side given to the network.
    """
    rows, problems = parse_rows(text, num_classes)
    findings = [_unusable(problem) for problem in problems]
    distinct: dict[tuple[int, bytes], Row] = {}
    for row in rows:
        first = distinct.setdefault((row.label, row.points.tobytes()), row)
        if first is not row:
            message = f"the same row as in line {first.line}"
            findings.append(RowFinding("row-duplicate", row.line, message))
        outside = max(-row.points.min(), row.points.max() - 1)
        if outside > 0:
            message = f"a coordinate {outside:.2g} outside the image is clipped"
            findings.append(RowFinding("row-clipped", row.line, message, float(outside)))
    return check_instances(
        [in_pixels(row, size) for row in distinct.values()], findings, size, imgsz
    )


def check_instances(
    instances: Sequence[Instance],
    findings: Sequence[RowFinding],
    size: Size,
    imgsz: int,
    unit: str = "line",
) -> RowReport:
    """Looks at the shapes of the instances of an image.

    Args:
        instances: each once.
        findings: what was found before.
        size: (height, width) of the image.
        imgsz: longest side given to the network.
        unit: what the number of an instance counts, for messages.
    """
    findings = list(findings)
    polygons = as_polygons(instances)
    areas = [polygons_area(parts) for parts in polygons]
    boxes = polygons_to_boxes(polygons)
    sides = (boxes[:, 2:] - boxes[:, :2])[:, ::-1]
    scale = min(1.0, imgsz / max(size))  # training shrinks images to fit and enlarges none
    for instance, area, (height, width) in zip(instances, areas, sides.tolist(), strict=True):
        findings += _check_shape(instance, area, (height * scale, width * scale), scale, imgsz)
    findings += _check_repeats(instances, polygons, areas, boxes, unit)
    findings.sort(key=lambda finding: finding.line)
    return RowReport(
        tuple(findings),
        np.array([instance.label for instance in instances], dtype=np.int64),
        sides.astype(np.float32),
        sum(len(instance.parts) for instance in instances),
    )


def in_pixels(row: Row, size: Size) -> Instance:
    """The rings of a row in an image of this (height, width), clipped as training does."""
    scale = np.array([size[1], size[0]], dtype=np.float64)
    rings = split_rings(row.points)
    return Instance(row.line, row.label, tuple(ring.clip(0, 1) * scale for ring in rings))


def line_text(line: int) -> str:
    """The number of an instance in messages; ? for an annotation whose id is no number."""
    return str(line) if line >= 0 else "?"


def as_polygons(instances: Sequence[Instance]) -> Polygons:
    """The instances as float32 polygons."""
    return tuple(tuple(part.astype(np.float32) for part in i.parts) for i in instances)


def _unusable(problem: RowProblem) -> RowFinding:
    weight = 0.0
    if problem.kind == "range" and problem.row is not None:
        weight = float(np.abs(problem.row.points - 0.5).max())
    # After the semicolon stands what to do; the table of kinds says it once for all.
    message = problem.message.partition("; ")[0]
    return RowFinding(_CODES[problem.kind], problem.line, message, weight)


def _check_shape(
    instance: Instance, area: float, side: tuple[float, float], scale: float, imgsz: int
) -> Iterator[RowFinding]:
    """Crossings, missing area and tiny size.

    Args:
        instance: in pixels of the image.
        area: its area there.
        side: height and width of its box at `imgsz`.
        scale: pixels at `imgsz` per pixel of the image.
        imgsz: longest side given to the network.
    """
    crossings = [worst_crossing(part) for part in instance.parts]
    loops = [crossing for crossing in crossings if crossing and crossing.loop_area >= _SMALL_LOOP]
    if loops:
        worst = max(loops, key=lambda crossing: crossing.loop_area)
        x, y = worst.point
        message = f"crosses itself at pixel ({x:.0f}, {y:.0f}), a loop of {worst.loop_area:.0f} px²"
        yield RowFinding("row-crossing", instance.line, message, worst.loop_area)
    elif area < NO_AREA:
        yield RowFinding("row-zero-area", instance.line, "all points lie on one line")
    elif area * scale**2 < MASK_STRIDE**2 or min(side) < 2:
        height, width = side
        message = f"{width:.1f} x {height:.1f} pixels at --imgsz {imgsz}"
        yield RowFinding("row-tiny", instance.line, message, 1 / (1 + area * scale**2))


def _check_repeats(
    instances: Sequence[Instance],
    polygons: Polygons,
    areas: Sequence[float],
    boxes: NDArray[np.float32],
    unit: str,
) -> Iterator[RowFinding]:
    """Pairs of instances with nearly the same outline."""
    if len(instances) < 2:
        return
    area = np.array(areas)
    for i in range(1, len(instances)):
        # Boxes and areas first: they are cheap and differ for nearly all pairs.
        low = np.maximum(boxes[:i, :2], boxes[i, :2])
        high = np.minimum(boxes[:i, 2:], boxes[i, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        union = (boxes[:i, 2:] - boxes[:i, :2]).prod(axis=1) - shared
        union += (boxes[i, 2:] - boxes[i, :2]).prod()
        alike = shared > 0.9 * union
        alike &= np.minimum(area[:i], area[i]) > 0.9 * np.maximum(area[:i], area[i])
        alike &= area[:i] >= NO_AREA
        for j in np.flatnonzero(alike).tolist():
            iou = _overlap(polygons[j], polygons[i], boxes[i])
            if iou >= _SAME:
                same = instances[j].label == instances[i].label
                message = (
                    f"covers the polygon of {unit} {line_text(instances[j].line)} by {iou:.0%}"
                )
                if not same:
                    message += f", class {instances[i].label} here, {instances[j].label} there"
                code = "row-repeated" if same else "row-two-classes"
                yield RowFinding(code, instances[i].line, message, iou)
                break


def _overlap(first: tuple[Part, ...], second: tuple[Part, ...], box: NDArray[np.float32]) -> float:
    """Intersection over union of two instances, on a grid over a box around them."""
    low = box[:2]
    scale = _GRID / np.maximum(box[2:] - low, 1e-6)
    moved = tuple(
        tuple(((part - low) * scale).astype(np.float32) for part in parts)
        for parts in (first, second)
    )
    a, b = rasterise(moved, (_GRID, _GRID))
    return float((a & b).sum() / max((a | b).sum(), 1))
