"""A split as a COCO annotation file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.atomic import replacing
from crispmask.data.index import DatasetIndex
from crispmask.data.paths import common_folder
from crispmask.geometry.polygons import part_area, polygons_area
from crispmask.geometry.raster import rasterise
from crispmask.geometry.rle import encode_masks
from crispmask.types import Polygons, Size

_MOST_DIGITS = 9
"""After the point, of a coordinate in pixels; enough for a millionth of any pixel."""


def coco_ground_truth(index: DatasetIndex, names: Sequence[str]) -> dict[str, Any]:
    """The annotations of a split as COCO writes them.

    Image ids count from 1 in the order of the index, annotation ids from 1; the category id of
    a label is label + 1. `file_name` starts at the folder that all images share, if there is one.
    Instances whose parts lie beside each other are polygons; with holes they are compressed RLE,
    because COCO fills all polygons of an instance. Crowds have `iscrowd` 1 and are RLE as in COCO.

    Coordinates have as few digits as give the same normalised float32 again: nothing is lost on
    the way back, and those of a dataset that came from COCO are as they were there.

    Args:
        index: the split.
        names: class names by label.
    """
    paths = [index.path(i) for i in range(len(index))]
    folder = common_folder(path.parent for path in paths)
    images = [
        {
            "id": i + 1,
            "file_name": (path.relative_to(folder) if folder else path).as_posix(),
            "width": index.size(i)[1],
            "height": index.size(i)[0],
        }
        for i, path in enumerate(paths)
    ]
    annotations: list[dict[str, Any]] = []
    for i in range(len(index)):
        for row in _annotations(index, i):
            annotations.append({"id": len(annotations) + 1, "image_id": i + 1, **row})
    return {
        "info": {"description": "YOLO-format dataset in COCO format"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(names)],
    }


def _annotations(index: DatasetIndex, i: int) -> Iterator[dict[str, Any]]:
    """The rows of image i, without ids."""
    size = index.size(i)
    polygons, labels, crowd = index.annotation_with_crowds(i, size)
    normalised, *_ = index.annotation_with_crowds(i, (1, 1))
    written = short_coordinates(normalised, size)
    for label, parts, rings, is_crowd in zip(
        labels.tolist(), polygons, written, crowd.tolist(), strict=True
    ):
        points = np.concatenate([np.zeros((0, 2)), *rings])
        low, high = (points.min(0), points.max(0)) if len(points) else (np.zeros(2), np.zeros(2))
        segmentation: list[list[float]] | dict[str, Any] = [ring.ravel().tolist() for ring in rings]
        area = polygons_area(parts)
        # Where rings overlap, the even-odd rule leaves less than their areas together; a
        # hundredth of a pixel is rounding.
        overlap = sum(abs(part_area(part)) for part in parts) - area
        if is_crowd or (len(parts) > 1 and abs(overlap) > 0.01):
            mask = rasterise((parts,), size)
            if mask.any():  # else too small for a mask, which would lose it
                segmentation, area = encode_masks(mask)[0], float(mask.sum())
        yield {
            "category_id": label + 1,
            "segmentation": segmentation,
            "area": area,
            "bbox": [*low.tolist(), *(high - low).round(_MOST_DIGITS).tolist()],
            "iscrowd": int(is_crowd),
        }


def short_coordinates(
    normalised: Polygons, size: Size
) -> tuple[tuple[NDArray[np.float64], ...], ...]:
    """Polygons in pixels, in the fewest digits that normalise to the same float32 again.

    Args:
        normalised: coordinates in [0, 1].
        size: (height, width) of the image.
    """
    rings = [part for parts in normalised for part in parts]
    if not rings:
        return tuple(() for _ in normalised)
    points = np.concatenate(rings)
    scale = np.array([size[1], size[0]], dtype=np.float64)
    exact = points.astype(np.float64) * scale
    found = exact.copy()
    todo = np.ones(points.shape, dtype=bool)
    for digits in range(_MOST_DIGITS + 1):
        rounded = exact.round(digits)
        good = todo & ((rounded / scale).astype(np.float32) == points)
        found[good] = rounded[good]
        todo &= ~good
        if not todo.any():
            break
    pieces = iter(np.split(found, np.cumsum([len(ring) for ring in rings])[:-1]))
    return tuple(tuple(next(pieces) for _ in parts) for parts in normalised)


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Writes JSON beside the file and moves it there: no reader sees half of it.

    The folder must exist.
    """
    text = json.dumps(value)  # first: a value that is no JSON leaves the old file alone
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
