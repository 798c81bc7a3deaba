"""Reading COCO annotation files: images, categories, and the rows of annotations."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crispmask.data.coco_rows import read_rows
from crispmask.data.labels import Labels
from crispmask.errors import DatasetError
from crispmask.types import Size

_LONGEST = 2**31 - 1
"""Pixels of a side, as many as a PNG can have."""


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
        labels_by_id = {
            category: label_of[name]
            for category, name in self.categories.items()
            if name in label_of
        }
        found = read_rows(image.annotations, image.size, labels_by_id)
        return found.labels, [
            f"{self.path}: {problem}" for problem in found.problems if problem.kind != "empty"
        ]


def read_coco_file(path: Path) -> CocoFile:
    """Reads images, annotations and categories; what annotations hold is looked at later.

    Categories that only group others, as exports of Roboflow have one, are left out.

    Raises:
        DatasetError: no JSON, or not a COCO annotation file.
    """
    content = _read_json(path)
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise DatasetError(
            f"{path}: not a COCO annotation file, it needs the lists {', '.join(lists)}; export it "
            "as COCO instances"
        )
    by_image: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    try:
        categories = {int(row["id"]): str(row["name"]).strip() for row in content["categories"]}
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
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{path}: a row lacks {error} or has a wrong value there; export the file again"
        ) from error
    for image in images:
        if not all(0 < side <= _LONGEST for side in image.size):
            raise DatasetError(
                f"{path}: {image.file_name} is {image.size[1]} x {image.size[0]} pixels there; "
                "export the file again with the sizes of its images"
            )
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


def merge_categories(
    files: Iterable[tuple[Path, Mapping[int, str]]],
) -> tuple[tuple[str, ...], list[tuple[Path, str]]]:
    """The class names of several files in the order of their ids, and what does not agree.

    Args:
        files: of each its path and class name by category id.

    Returns:
        The names, each once; file and words of each problem.
    """
    by_id: dict[int, str] = {}
    file_of: dict[int, Path] = {}
    problems = []
    for path, categories in files:
        for category, name in categories.items():
            file_of.setdefault(category, path)
            first = by_id.setdefault(category, name)
            if first != name:
                words = f"category {category} is {name!r}, in another file {first!r}"
                problems.append((path, f"{words}; give it the same name"))
    order = sorted(by_id)
    names = tuple(by_id[category] for category in order)
    for i, name in enumerate(names):
        if not name or name in names[:i]:
            words = f"a category is called {name!r} like another one; rename it"
            problems.append((file_of[order[i]], words))
    return tuple(dict.fromkeys(names)), problems


def about_size(path: str | Path, size: Size, said: Size, file: Path) -> str:
    """What is wrong with an image of another (height, width) than its COCO file says."""
    return (
        f"{path}: {size[1]} x {size[0]} pixels, but {said[1]} x {said[0]} in {file}; use the "
        "images it was made for, or turn them as their EXIF says"
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file; correct the path") from None
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{path}:{error.lineno}: not JSON, {error.msg}; export it again"
        ) from error
    except (OSError, ValueError) as error:  # other bytes, or a number of thousands of digits
        raise DatasetError(f"{path}: cannot be read as text ({error}); export it again") from error
