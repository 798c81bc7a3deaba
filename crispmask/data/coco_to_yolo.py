"""COCO annotation files to a YOLO-format dataset. The originals are only read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crispmask.atomic import replacing_folder
from crispmask.data.coco_file import (
    CocoFile,
    CocoImage,
    about_size,
    merge_categories,
    read_coco_file,
)
from crispmask.data.coco_paths import find_images_of
from crispmask.data.images import image_size
from crispmask.data.labels import Labels, join_problems
from crispmask.data.paths import label_path
from crispmask.data.rings import format_label_line
from crispmask.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one COCO file.

    Attributes:
        split: its split.
        num_images: images written.
        num_instances: rows written.
        num_crowds: crowds left out: label files cannot mark them.
        num_empty: instances left out, because nothing of them is to be seen.
    """

    split: str
    num_images: int
    num_instances: int
    num_crowds: int
    num_empty: int


def write_yolo_dataset(
    files: Mapping[str, Path], images: Path, out: Path, link: bool = False
) -> list[Written]:
    """Writes images/<split>, labels/<split> and data.yaml.

    Classes are the categories of all files in the order of their ids. An interrupted call leaves
    nothing at `out`.

    Args:
        files: COCO file by split.
        images: folder that their file names start from; images are also found below it, first in
            folders called as their split.
        out: folder to write; it must not exist, or be empty.
        link: makes symbolic links to the images instead of copies.

    Raises:
        DatasetError: naming the file, or the images that are missing, and the fix.
    """
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(
            f"{out}: is not empty and nothing is overwritten; name a new folder with --out"
        )
    read = {split: read_coco_file(path) for split, path in files.items()}
    names = _names(read)
    try:
        with replacing_folder(out) as partial:
            written = [
                _write(split, file, names, images, partial, link) for split, file in read.items()
            ]
            (partial / "data.yaml").write_bytes(_data_yaml(list(files), names).encode())
    except OSError as error:
        raise DatasetError(f"{out}: cannot be written: {error.strerror or error}") from error
    return written


def _names(files: Mapping[str, CocoFile]) -> tuple[str, ...]:
    names, problems = merge_categories((file.path, file.categories) for file in files.values())
    if problems:
        raise DatasetError("{}: {}".format(*problems[0]))
    if not names:
        path = next(iter(files.values())).path
        raise DatasetError(f"{path}: no categories; export the file again with their names")
    return names


def _data_yaml(splits: list[str], names: tuple[str, ...]) -> str:
    lines = [f"{split}: images/{split}" for split in splits]
    if "val" not in splits:
        lines.append(f"val: images/{splits[0]}  # no images were set aside")
    if "train" not in splits:
        lines.insert(0, f"train: images/{splits[0]}  # there are no others")
    rows = [f"  {i}: {json.dumps(name, ensure_ascii=False)}" for i, name in enumerate(names)]
    return "\n".join([*lines, "names:", *rows, ""])


def _write(
    split: str, file: CocoFile, names: tuple[str, ...], images: Path, out: Path, link: bool
) -> Written:
    if not images.is_dir():
        raise DatasetError(f"{images}: no such folder; correct --images")
    found = find_images_of(
        file.path, [image.file_name for image in file.images], [images], split, "correct --images"
    )
    sources = [Path(path) for path in found]
    problems: list[str] = []
    num_rows = num_crowds = num_empty = 0
    taken: dict[str, str] = {}
    for image, source in zip(file.images, sources, strict=True):
        labels, wrong = file.labels(image, names)
        problems += wrong + _wrong_size(file, image, source)
        name = _name_in_split(image.file_name)
        # Files that differ only in their suffix would share a label file.
        key = str(name.with_suffix(""))
        if key in taken:
            raise DatasetError(
                f"{file.path}: {taken[key]} and {image.file_name} would share a label file; "
                "rename one"
            )
        taken[key] = image.file_name
        target = out / "images" / split / name
        rows = _rows(labels, image)
        num_crowds += int(labels.crowd.sum())
        num_empty += len(image.annotations) - len(labels) - len(wrong) + rows.count("")
        rows = [row for row in rows if row]
        num_rows += len(rows)
        if problems:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if link:
            target.symlink_to(os.path.abspath(source))
        else:
            shutil.copyfile(source, target)
        text = label_path(target)
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_bytes("".join(f"{row}\n" for row in rows).encode())
    if problems:
        raise DatasetError(join_problems(problems))
    return Written(split, len(file.images), num_rows, num_crowds, num_empty)


def _name_in_split(file_name: str) -> Path:
    """Where an image goes below its split: never outside of it."""
    path = Path(file_name)
    if path.is_absolute():
        return Path(path.name)
    # Label files are looked for beside the last folder `images`, which has to be that of the split.
    folders = (part for part in path.parts[:-1] if part not in ("..", "images"))
    return Path(*folders, path.name)


def _rows(labels: Labels, image: CocoImage) -> list[str]:
    """Rows of those that are no crowds; an empty one for what has no area."""
    polygons = labels.polygons((1, 1))  # as they are: another scale would round them
    return [
        format_label_line(label, parts, (1, 1))
        for label, parts, crowd in zip(
            labels.labels.tolist(), polygons, labels.crowd.tolist(), strict=True
        )
        if not crowd
    ]


def _wrong_size(file: CocoFile, image: CocoImage, source: Path) -> list[str]:
    try:
        size = image_size(source)
    except DatasetError as error:
        return [str(error)]
    return [] if size == image.size else [about_size(source, size, image.size, file.path)]
