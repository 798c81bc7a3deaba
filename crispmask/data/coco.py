"""A split as a COCO annotation file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crispmask.atomic import replacing
from crispmask.data.index import DatasetIndex
from crispmask.geometry.polygons import part_area, polygons_area, polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.geometry.rle import encode_masks
from crispmask.types import Part, Size


def coco_ground_truth(index: DatasetIndex, names: Sequence[str]) -> dict[str, Any]:
    """The annotations of a split as COCO writes them.

    Image ids count from 1 in the order of the index, annotation ids from 1; the category id of
    a label is label + 1. `file_name` starts at the folder that all images share. Instances
    whose parts lie beside each other are polygons; with holes they are compressed RLE, because
    COCO fills all polygons of an instance.

    Args:
        index: the split.
        names: class names by label.
    """
    paths = [index.path(i) for i in range(len(index))]
    folder = os.path.commonpath([path.parent for path in paths]) if paths else ""
    images = [
        {
            "id": i + 1,
            "file_name": path.relative_to(folder).as_posix(),
            "width": index.size(i)[1],
            "height": index.size(i)[0],
        }
        for i, path in enumerate(paths)
    ]
    annotations: list[dict[str, Any]] = []
    for i in range(len(index)):
        size = index.size(i)
        polygons, labels = index.annotation(i, size)
        boxes = polygons_to_boxes(polygons).tolist()
        for label, parts, (x1, y1, x2, y2) in zip(labels.tolist(), polygons, boxes, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": label + 1,
                    "segmentation": _segmentation(parts, size),
                    "area": polygons_area(parts),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "iscrowd": 0,
                }
            )
    return {
        "info": {"description": "YOLO-format dataset in COCO format"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(names)],
    }


def _segmentation(parts: tuple[Part, ...], size: Size) -> list[list[float]] | dict[str, Any]:
    """Polygons if all parts are filled, else compressed RLE."""
    # Where rings overlap, the even-odd rule leaves less than their areas together.
    missing = sum(abs(part_area(part)) for part in parts) - polygons_area(parts)
    if len(parts) > 1 and abs(missing) > 0.01:  # pixels; below is rounding
        return encode_masks(rasterise((parts,), size))[0]
    return [part.ravel().tolist() for part in parts]


def write_json_atomic(path: str | Path, value: Any) -> None:
    """Writes JSON beside the file and moves it there: no reader sees half of it.

    The folder must exist.
    """
    text = json.dumps(value)  # first: a value that is no JSON leaves the old file alone
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
