"""Reading COCO annotation files: polygons and run-length encoded masks, crowds included."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.data.labels import Labels, labels_of_instances
from crispmask.errors import DatasetError
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.polygons import clip_polygons
from crispmask.geometry.raster import rasterise
from crispmask.geometry.runs import mask_of_runs, read_runs
from crispmask.types import Size


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of a COCO file.

    Attributes:
        file_name: as written there.
        size: (height, width).
        annotations: its rows of `annotations`.
    """

    file_name: str
    size: Size
    annotations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A COCO annotation file.

    Attributes:
        path: of the file.
        categories: class name by category id, ids ascending.
        images: in the order of the file.
    """

    path: Path
    categories: Mapping[int, str]
    images: tuple[CocoImage, ...]

    def labels(self, image: CocoImage, names: Sequence[str]) -> tuple[Labels, list[str]]:
        """The instances of an image, and a line for each annotation that cannot be used.

        Args:
            image: of this file.
            names: class names by label.
        """
        label_of = {name: label for label, name in enumerate(names)}
        labels, instances, crowd, problems = [], [], [], []
        for row in image.annotations:
            name = self.categories[row["category_id"]]
            try:
                if name not in label_of:
                    raise ValueError(f"category {name!r} is not among names; add it there")
                rings = _rings(row.get("segmentation"), image.size)
            except ValueError as error:
                problems.append(f"{self.path}: annotation {row.get('id')}: {error}")
                continue
            if rings:  # else a mask without pixels: nothing to see, nothing to learn
                labels.append(label_of[name])
                instances.append(rings)
                crowd.append(bool(row.get("iscrowd", 0)))
        return labels_of_instances(labels, instances, crowd), problems


def read_coco_file(path: Path) -> CocoFile:
    """Reads images, annotations and categories; what annotations hold is looked at later.

    Categories that only group others, as exports of Roboflow have one, are left out.

    Raises:
        DatasetError: no JSON, or not a COCO annotation file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; correct the path") from None
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{path}:{error.lineno}: not JSON, {error.msg}; export it again"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text ({error}); export it again") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise DatasetError(
            f"{path}: not a COCO annotation file, it needs the lists {', '.join(lists)}; export it "
            "as COCO instances"
        )
    by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    try:
        categories = {row["id"]: str(row["name"]).strip() for row in content["categories"]}
        records = {row["id"]: row for row in content["images"]}
        for row in content["annotations"]:
            for key, known in (("image_id", records), ("category_id", categories)):
                if row[key] not in known:
                    raise DatasetError(
                        f"{path}: annotation {row.get('id')}: {key} {row[key]} does not exist; "
                        "export the file again"
                    )
            by_image[row["image_id"]].append(row)
        images = tuple(
            CocoImage(
                str(row["file_name"]).replace("\\", "/"),
                (int(row["height"]), int(row["width"])),
                tuple(by_image[image_id]),
            )
            for image_id, row in records.items()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path}: a row lacks {error} or has a wrong value there; export the file again"
        ) from error
    if len(records) < len(content["images"]):
        raise DatasetError(f"{path}: two images have the same id; export the file again")
    used = {row["category_id"] for row in content["annotations"]}
    groups = {str(row.get("supercategory")) for row in content["categories"] if row["id"] in used}
    kept = {
        i: categories[i] for i in sorted(categories) if i in used or categories[i] not in groups
    }
    for name in kept.values():
        if list(kept.values()).count(name) > 1:
            raise DatasetError(f"{path}: two categories are called {name!r}; rename one")
    return CocoFile(path, kept, images)


def _rings(segmentation: Any, size: Size) -> list[NDArray[np.float64]]:
    """Normalised rings of an annotation, filled by the even-odd rule.

    Raises:
        ValueError: what is wrong and what to do.
    """
    height, width = size
    scale = np.array([width, height], dtype=np.float64)
    if not segmentation:
        raise ValueError("no segmentation, only a box; draw a polygon or remove it")
    if isinstance(segmentation, Mapping):
        return [ring / scale for ring in mask_to_parts(_mask(segmentation, size))]
    if not isinstance(segmentation, list):
        raise ValueError("segmentation is neither polygons nor a mask; export it again")
    nested = segmentation if isinstance(segmentation[0], list) else [segmentation]
    rings = [ring for values in nested for ring in _inside(_polygon(values), size)]
    if not rings:
        raise ValueError("lies outside of its image; correct or remove it")
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
    except (TypeError, ValueError):
        raise ValueError("a coordinate is not a number; export it again") from None
    if not all(map(math.isfinite, points)):
        raise ValueError("a coordinate is not finite; draw the polygon again or remove it")
    if len(points) % 2:
        raise ValueError(f"{len(points)} coordinates, an odd number; each point needs x and y")
    if len(points) < 6:
        raise ValueError(f"{len(points) // 2} points, fewer than 3; draw a polygon or remove it")
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
        raise ValueError(
            f"a mask of size {rle.get('size')} in an image of {list(size)}; export again"
        )
    if not isinstance(counts, (str, list)):
        raise ValueError("the mask has no counts; export it again")
    try:
        return mask_of_runs(read_runs(counts) if isinstance(counts, str) else counts, size)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error}; export it again") from None
