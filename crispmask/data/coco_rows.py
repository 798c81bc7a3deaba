"""The annotations of one image in a COCO file: polygons and run-length encoded masks, crowds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crispmask.data.labels import Labels, labels_of_instances
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.polygons import clip_polygons
from crispmask.geometry.raster import rasterise
from crispmask.geometry.runs import mask_of_runs, read_runs
from crispmask.types import Size

RowKind = Literal["box", "points", "number", "range", "class", "mask", "empty"]
"""What is wrong: a box in place of a polygon, too few points or half of one, a coordinate that is
no number, one outside the image, the category, a mask that cannot be decoded. `empty` is a mask
without pixels: nothing to see, nothing to learn, and left out without harm."""


@dataclass(frozen=True, slots=True)
class AnnotationProblem:
    """Why an annotation is not used.

    Attributes:
        kind: what is wrong.
        annotation: its id, as text.
        message: what is wrong, and what to do.
        label: of its category, -1 if there is none.
        box: left, top, width and height in pixels where it is a box alone; else empty.
    """

    kind: RowKind
    annotation: str
    message: str
    label: int = -1
    box: tuple[float, ...] = ()

    def __str__(self) -> str:
        return f"annotation {self.annotation}: {self.message}"


@dataclass(frozen=True, slots=True)
class CocoRows:
    """What the annotations of an image give.

    Attributes:
        labels: the instances, crowds among them.
        ids: (N,) int64, the annotation of each; -1 where it is no number that fits.
        problems: those that are not used.
    """

    labels: Labels
    ids: NDArray[np.int64]
    problems: tuple[AnnotationProblem, ...]


class _RowError(Exception):
    """Kind and message of a problem."""

    def __init__(self, kind: RowKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_rows(
    rows: Sequence[Mapping[str, Any]], size: Size, labels_by_id: Mapping[int, int]
) -> CocoRows:
    """The instances of the annotations of one image.

    Args:
        rows: of the file.
        size: (height, width) of the image.
        labels_by_id: label by category id.
    """
    labels, instances, crowd, ids, problems = [], [], [], [], []
    for row in rows:
        try:
            if row["category_id"] not in labels_by_id:
                raise _RowError(
                    "class", f"category {row['category_id']} is not among names; add it there"
                )
            rings = _rings(row.get("segmentation"), size)
        except _RowError as error:
            label = labels_by_id.get(row["category_id"], -1)
            box = _box(row.get("bbox")) if error.kind == "box" else ()
            problems.append(
                AnnotationProblem(error.kind, str(row.get("id")), str(error), label, box)
            )
            continue
        labels.append(labels_by_id[row["category_id"]])
        instances.append(rings)
        crowd.append(bool(row.get("iscrowd", 0)))
        ids.append(_number(row.get("id")))
    return CocoRows(
        labels_of_instances(labels, instances, crowd),
        np.array(ids, dtype=np.int64),
        tuple(problems),
    )


def _number(annotation: Any) -> int:
    """An id as a number, also where it is written as text; -1 if it is none that fits."""
    try:
        number = int(annotation) if isinstance(annotation, (int, str)) else -1
    except ValueError:
        return -1
    return number if abs(number) < 2**63 else -1


def _box(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != 4:
        return ()
    try:
        box = tuple(float(v) for v in values if isinstance(v, (int, float)) and math.isfinite(v))
    except OverflowError:  # a whole number of hundreds of digits
        return ()
    return box if len(box) == 4 and min(box[2:]) > 0 else ()


def _rings(segmentation: Any, size: Size) -> list[NDArray[np.float64]]:
    """Normalised rings of an annotation, filled by the even-odd rule."""
    height, width = size
    scale = np.array([width, height], dtype=np.float64)
    if not segmentation:
        raise _RowError("box", "no segmentation, only a box; draw a polygon or remove it")
    if isinstance(segmentation, Mapping):
        parts = mask_to_parts(_mask(segmentation, size))
        if not parts:
            raise _RowError("empty", "a mask without pixels; remove it")
        return [ring / scale for ring in parts]
    if not isinstance(segmentation, list):
        raise _RowError("mask", "segmentation is neither polygons nor a mask; export it again")
    nested = segmentation if isinstance(segmentation[0], list) else [segmentation]
    rings = [ring for values in nested for ring in _inside(_polygon(values), size)]
    if not rings:
        raise _RowError("range", "lies outside of its image; correct or remove it")
    if len(rings) > 1:
        # Polygons of COCO are filled one by one: where they overlap, even-odd would leave a gap.
        union = np.zeros(size, dtype=bool)
        odd = np.zeros(size, dtype=bool)
        for ring in rings:
            mask = rasterise(((ring.astype(np.float32),),), size)[0]
            union |= mask
            odd ^= mask
        if (union != odd).any():
            return [ring / scale for ring in mask_to_parts(union)]
    return [ring / scale for ring in rings]


def _polygon(values: Any) -> NDArray[np.float64]:
    try:
        points = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise _RowError("number", "a coordinate is not a number; export it again") from None
    if not all(map(math.isfinite, points)):
        raise _RowError("range", "a coordinate is not finite; draw the polygon again or remove it")
    if len(points) % 2:
        raise _RowError(
            "points", f"{len(points)} coordinates, an odd number; each point needs x and y"
        )
    if len(points) < 6:
        raise _RowError(
            "points", f"{len(points) // 2} points, fewer than 3; draw a polygon or remove it"
        )
    return np.array(points, dtype=np.float64).reshape(-1, 2)


def _inside(points: NDArray[np.float64], size: Size) -> list[NDArray[np.float64]]:
    """The ring cut to the image."""
    if (points >= 0).all() and (points <= (size[1], size[0])).all():
        return [points]
    clipped = clip_polygons(((points.astype(np.float32),),), size)[0]
    return [part.astype(np.float64) for part in clipped]


def _mask(rle: Mapping[str, Any], size: Size) -> NDArray[np.bool_]:
    counts = rle.get("counts")
    if rle.get("size") != list(size):
        raise _RowError(
            "mask", f"a mask of size {rle.get('size')} in an image of {list(size)}; export again"
        )
    if not isinstance(counts, (str, list)):
        raise _RowError("mask", "the mask has no counts; export it again")
    try:
        return mask_of_runs(read_runs(counts) if isinstance(counts, str) else counts, size)
    except (TypeError, ValueError, OverflowError) as error:
        raise _RowError("mask", f"{error}; export it again") from None
