"""A YOLO-format dataset written once more as COCO files, for tests of reading these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from crispmask.data.coco import coco_ground_truth
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec


def write_coco_dataset(
    data: Path, folder: Path, ids: tuple[int, ...] | None = None, crowds: bool = False
) -> Path:
    """Writes annotations/instances_<split>.json of a dataset and a data.yaml that names them.

    Args:
        data: data.yaml; its images stay where they are, in images/<split>.
        folder: to write into; its `images` becomes a link to theirs.
        ids: category ids by label; from 1 on if None.
        crowds: whether the left third of each image becomes a crowd of class 0.
    """
    spec = read_spec(data)
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").symlink_to(data.parent / "images")
    for split, paths in (("train", spec.train), ("val", spec.val)):
        content = coco_ground_truth(build_index(paths, len(spec.names)), spec.names)
        if crowds:
            content["annotations"] += [crowd_of(image) for image in content["images"]]
        if ids is not None:
            content = with_ids(content, ids)
        write_json(folder / f"annotations/instances_{split}.json", content)
    lines = [f"{split}: annotations/instances_{split}.json\n" for split in ("train", "val")]
    (folder / "data.yaml").write_text("".join(lines))
    return folder / "data.yaml"


def crowd_of(image: dict[str, Any]) -> dict[str, Any]:
    """A crowd over the left third of an image, as uncompressed mask."""
    height, width = image["height"], image["width"]
    area = height * (width // 3)
    return {
        "id": 10_000 + image["id"],
        "image_id": image["id"],
        "category_id": 1,
        "iscrowd": 1,
        "area": area,
        "bbox": [0, 0, width // 3, height],
        "segmentation": {"size": [height, width], "counts": [0, area, height * width - area]},
    }


def with_ids(content: dict[str, Any], ids: tuple[int, ...]) -> dict[str, Any]:
    """The same with other category ids, and the categories in reverse."""
    return {
        **content,
        "categories": [
            {**row, "id": ids[row["id"] - 1]} for row in reversed(content["categories"])
        ],
        "annotations": [
            {**row, "category_id": ids[row["category_id"] - 1]} for row in content["annotations"]
        ],
    }


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
