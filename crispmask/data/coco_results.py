"""Reading COCO results files of any program: whose images and classes the rows mean.

Letters: D rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crispmask.data.coco_names import CategoryIds, ImageIds, find_categories, find_images
from crispmask.errors import DatasetError
from crispmask.geometry.rle import box_of_rle, encode_polygons, encode_runs, is_rle
from crispmask.types import Size

ResultRow = dict[str, Any]
"""A row of a COCO results file with the ids of our ground truth: what `val` writes, too."""


@dataclass(frozen=True, slots=True)
class ResultsFile:
    """The predictions of a COCO results file.

    Attributes:
        rows: by the ids of the ground truth; with `bbox`, and masks as compressed RLE.
        has_boxes: whether the file has boxes: then the size of a prediction is that of its box.
    """

    rows: list[ResultRow]
    has_boxes: bool


def read_results(
    path: Path,
    ground_truth: Mapping[str, Any],
    ids_of: Path | None = None,
    image_ids: Literal["auto", "ids", "names"] = "auto",
) -> ResultsFile:
    """Reads a COCO results file, row by row in order.

    An image is named by its id in `ground_truth`, by its file name with or without folder and
    suffix, by the number that is its file name, or by its id in `ids_of`. Category ids are
    label + 1; labels themselves if one of them is 0; those of `ids_of` by their names.
    Masks are compressed or uncompressed RLE or polygons; where there is none, the box is the
    mask, and where there is no box, the mask gives it, as in pycocotools.

    Args:
        path: the file: a list of rows, or a COCO file whose annotations have scores.
        ground_truth: a COCO annotation file: `images`, `categories`.
        ids_of: the COCO annotation file whose ids the rows have.
        image_ids: what numbers mean that can be both, ids or names.

    Raises:
        DatasetError: with the row that cannot be used.
    """
    rows = _load(path)
    images = find_images(path, rows, ground_truth, ids_of, image_ids)
    categories = find_categories(path, rows, ground_truth, ids_of)
    sizes = {
        int(image["id"]): (int(image["height"]), int(image["width"]))
        for image in ground_truth["images"]
    }
    has_boxes = bool(rows) and "bbox" in rows[0] and rows[0]["bbox"] != []
    return ResultsFile(list(_read(path, rows, images, categories, sizes)), has_boxes)


def _load(path: Path) -> Sequence[Mapping[str, Any]]:
    """The rows of the file."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: no JSON: {error}") from error
    rows = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DatasetError(
            f"{path}: no COCO results file: a list of rows with image_id, category_id, score and "
            "segmentation or bbox is wanted"
        )
    for number, row in enumerate(rows, 1):
        missing = [
            key
            for key in ("image_id", "category_id", "score")
            if not isinstance(row, dict) or key not in row
        ]
        if missing:
            raise DatasetError(f"{path}: row {number} has no {missing[0]}")
    return rows


def _read(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    images: ImageIds,
    categories: CategoryIds,
    sizes: Mapping[int, Size],
) -> Iterator[ResultRow]:
    for number, row in enumerate(rows, 1):
        try:
            image_id = images.of(row)
            category_id = categories.of(row)
            if image_id is None:
                raise ValueError(f"no image of the split is {images.said(row)}; {images.rule}")
            if category_id is None:
                raise ValueError(
                    f"no class has category_id {row['category_id']!r}; {categories.rule}"
                )
            yield {
                "image_id": image_id,
                "category_id": category_id,
                "score": _number(row["score"], "score"),
                **_region(row, sizes[image_id]),
            }
        except (ValueError, TypeError, OverflowError) as error:
            raise DatasetError(f"{path}: row {number}: {error}") from error


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, not a number")
    return float(value)


def _region(row: Mapping[str, Any], size: Size) -> dict[str, Any]:
    """Box and mask of a row.

    Raises:
        ValueError: neither, or one that cannot be read.
    """
    box, segmentation = row.get("bbox") or None, row.get("segmentation") or None
    if box is None and segmentation is None:
        raise ValueError("neither segmentation nor bbox")
    if box is not None:
        if not isinstance(box, list) or len(box) != 4:
            raise ValueError(f"bbox is {box!r}, not [x, y, width, height]")
        box = [_number(value, "bbox") for value in box]
    if segmentation is None:
        x, y, w, h = box or [0.0] * 4
        segmentation = [[x, y, x, y + h, x + w, y + h, x + w, y]]
    rle = _rle(segmentation, size)
    return {"bbox": box if box is not None else box_of_rle(rle), "segmentation": rle}


def _rle(segmentation: Any, size: Size) -> dict[str, Any]:
    if isinstance(segmentation, list):
        for ring in segmentation:
            if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2:
                raise ValueError("a polygon is a list [x1, y1, x2, y2, x3, y3, ...]")
            if not np.isfinite(np.asarray(ring, dtype=np.float64)).all():
                raise ValueError("a polygon with a coordinate that is no number")
        return encode_polygons(segmentation, size)
    if not isinstance(segmentation, dict) or "counts" not in segmentation:
        raise ValueError("segmentation is neither a list of polygons nor RLE")
    own = segmentation.get("size")
    if own != list(size):
        raise ValueError(
            f"its mask is {own} pixels (height, width) and its image {list(size)}: a mask has the "
            "size of the image file"
        )
    if isinstance(segmentation["counts"], list):
        return encode_runs(segmentation["counts"], size)
    if not is_rle(segmentation["counts"], size):
        raise ValueError(f"its RLE does not fill {size[1]} x {size[0]} pixels")
    return {"size": list(size), "counts": segmentation["counts"]}
