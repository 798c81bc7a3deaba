"""A repaired copy of a dataset. The original is only read."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from crispmask.atomic import replacing_folder
from crispmask.data.labels import read_label_text
from crispmask.data.paths import common_folder, label_path
from crispmask.data.rings import format_label_line, split_rings
from crispmask.data.rows import Row, parse_rows
from crispmask.data.spec import DatasetSpec
from crispmask.doctor.annotations import coco_lookup
from crispmask.doctor.examine import Examination
from crispmask.doctor.repair_coco import BoxMode, Change, write_rows
from crispmask.doctor.rows import NO_AREA, as_polygons, in_pixels
from crispmask.doctor.scan import Record
from crispmask.errors import DatasetError
from crispmask.geometry.crossings import worst_crossing
from crispmask.geometry.polygons import clip_polygons, polygons_area
from crispmask.types import Part, Size

CopyMode = Literal["copy", "hardlink", "symlink"]


def write_repaired_copy(
    found: Examination,
    out: Path,
    boxes: BoxMode = "drop",
    copy: CopyMode = "copy",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Change]:
    """Writes images, labels, data.yaml and changes.csv.

    Rows that training would refuse are clipped or left out; so are images that cannot be read
    and, of two splits with the same image file, that of the earlier one. Everything else stays
    as it is. An interrupted call leaves nothing at `out`.

    Args:
        found: by `examine`; only the splits it looked at are written.
        out: folder of the copy; it must not exist or be empty.
        boxes: what becomes of rows that are boxes.
        copy: how images come there.
        on_progress: called with the images done and all there are.

    Returns:
        Every change.

    Raises:
        DatasetError: the folder is taken, or lies in the dataset.
    """
    out = Path(os.path.abspath(os.path.expanduser(out)))
    refuse_place(out, found.spec)
    try:
        with replacing_folder(out) as partial:
            changes = list(_write(found, partial, boxes, copy, on_progress))
            _write_changes(partial / "changes.csv", changes)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f"{out}: cannot write the repaired copy: {reason}") from error
    return changes


def refuse_place(out: Path, spec: DatasetSpec) -> None:
    """Raises a `DatasetError` if the copy would lie in the dataset or on something else."""
    real = Path(os.path.realpath(out))
    images = (*spec.train, *spec.val, *spec.test)
    inside = {spec.root, spec.file.parent}
    inside |= {path.parent for path in images} | {label_path(path).parent for path in images}
    for folder in inside:
        if real.is_relative_to(os.path.realpath(folder)):
            raise DatasetError(
                f"{out}: lies in the dataset, which is never changed; name a folder outside of "
                f"{folder} with --fix-to"
            )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(
            f"{out}: is there already and nothing is overwritten; name a new folder with --fix-to"
        )


def _write(
    found: Examination,
    folder: Path,
    boxes: BoxMode,
    copy: CopyMode,
    on_progress: Callable[[int, int], None],
) -> Iterator[Change]:
    left_out = {p.image: p.message for p in found.problems if p.code in _LEFT_OUT}
    # Of the last split that has it; what is left out there must not be left out of all.
    kept = {r.digest: r for r in found.records if r.digest and r.image not in left_out}
    base = _common_folders(found)
    taken: set[str] = set()
    lookup = coco_lookup(found.spec)
    for done, record in enumerate(found.records, start=1):
        if record.image in left_out:
            yield Change(record.image, 0, "image left out", left_out[record.image])
        elif record.digest and kept[record.digest].split != record.split:
            reason = f"the same file as {kept[record.digest].image} in {kept[record.digest].split}"
            yield Change(record.image, 0, f"image left out of {record.split}", reason)
        else:
            name = _free_name(record.image, base[record.split], record.split, taken)
            if name.stem != record.image.stem:
                yield Change(record.image, 0, f"renamed {name.name}", "a name that is taken")
            target = folder / "images" / record.split / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(record.image, target, copy)
            if record.image in lookup:
                yield from write_rows(*lookup[record.image], label_path(target), boxes)
            elif record.has_labels:
                changes = _repair_labels(record, len(found.names), label_path(target), boxes)
                yield from sorted(changes, key=lambda change: change.line)
        on_progress(done, len(found.records))
    yield from _write_yaml(found, folder)


_LEFT_OUT = (
    "image-unreadable",
    "image-truncated",
    "image-damaged",
    "image-size",
    "label-unreadable",
)
"""Problems that keep an image out of the copy: without its labels it would teach that there is
nothing in it."""


def _repair_labels(
    record: Record, num_classes: int, target: Path, boxes: BoxMode
) -> Iterator[Change]:
    file = label_path(record.image)
    text = read_label_text(file)
    rows, problems = parse_rows(text, num_classes)
    lines: dict[int, str] = {}
    seen: dict[tuple[int, bytes], int] = {}
    content = text.splitlines()
    for row in rows:
        first = seen.setdefault((row.label, row.points.tobytes()), row.line)
        if first != row.line:
            yield Change(file, row.line, "row left out", f"the same as line {first}")
        elif _has_no_area(row, record.size):
            yield Change(file, row.line, "row left out", "no area")
        elif row.points.min() < 0 or row.points.max() > 1:
            lines[row.line] = format_label_line(row.label, _parts(row, record.size), record.size)
            yield Change(file, row.line, "clipped to the image", "coordinates outside 0 to 1")
        else:
            lines[row.line] = content[row.line - 1].strip()
    for problem in problems:
        line, change = "", "row left out"
        reason = problem.message.partition("; ")[0]
        bad = problem.row
        if bad is not None and 0 <= bad.label < num_classes:
            if problem.kind == "range":
                line, change = _clipped(bad, record.size), "clipped to the image"
            elif problem.kind == "box" and boxes == "rectangle":
                line, change = _rectangle(bad, record.size), "box turned into a rectangle"
        if line:
            lines[problem.line] = line
        else:
            change = "row left out"
        yield Change(file, problem.line, change, reason)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes("".join(f"{lines[number]}\n" for number in sorted(lines)).encode())


def _parts(row: Row, size: Size) -> tuple[Part, ...]:
    (parts,) = as_polygons([in_pixels(row, size)])
    return parts


def _has_no_area(row: Row, size: Size) -> bool:
    parts = _parts(row, size)
    return polygons_area(parts) < NO_AREA and not any(worst_crossing(part) for part in parts)


def _clipped(row: Row, size: Size) -> str:
    """The row of what lies in the image, empty if nothing does."""
    scale = np.array([size[1], size[0]], dtype=np.float64)
    parts = tuple((ring * scale).astype(np.float32) for ring in split_rings(row.points))
    (inside,) = clip_polygons((parts,), size)
    return format_label_line(row.label, inside, size) if polygons_area(inside) >= NO_AREA else ""


def _rectangle(row: Row, size: Size) -> str:
    """The row of a box given by centre and size, empty if nothing of it lies in the image."""
    centre, half = row.points[0], row.points[1] / 2
    (x1, y1), (x2, y2) = (centre - half).clip(0, 1), (centre + half).clip(0, 1)
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) * (size[1], size[0])
    if x1 >= x2 or y1 >= y2:
        return ""
    return format_label_line(row.label, (corners.astype(np.float32),), size)


def _common_folders(found: Examination) -> dict[str, Path | None]:
    return {
        split: common_folder(r.image.parent for r in found.records if r.split == split)
        for split in found.counts
    }


def _free_name(image: Path, base: Path | None, split: str, taken: set[str]) -> Path:
    """Where an image lies in its split; numbered where two would get the same label file."""
    below = image.parent.relative_to(base or image.anchor)
    # A folder `images` in the middle would move the labels away from those of the others.
    folder = Path(*(part for part in below.parts if part != "images"))
    number, stem = 1, image.stem
    while f"{split}/{folder / stem}".casefold() in taken:
        number += 1
        stem = f"{image.stem}_{number}"
    taken.add(f"{split}/{folder / stem}".casefold())
    return folder / f"{stem}{image.suffix}"


def _place(image: Path, target: Path, copy: CopyMode) -> None:
    real = os.path.realpath(image)
    if copy == "hardlink":
        os.link(real, target)
    elif copy == "symlink":
        target.symlink_to(real)
    else:
        shutil.copyfile(real, target)


def _write_yaml(found: Examination, folder: Path) -> Iterator[Change]:
    names = []
    for label, name in enumerate(found.names[: _num_used(found)]):
        free = name or f"class_{label}"
        while free in names:
            free += f"_{label}"
        names.append(free)
    splits = "".join(f"{split}: images/{split}\n" for split in found.counts)
    listed = "".join(f"  {label}: {_quoted(name)}\n" for label, name in enumerate(names))
    (folder / "data.yaml").write_bytes(f"{splits}names:\n{listed}".encode())
    for problem in found.problems:
        if problem.code in ("yaml-names", "yaml-nc", "yaml-key", "yaml-path", "list-line"):
            yield Change(problem.file, problem.line, "data.yaml written anew", problem.message)


def _num_used(found: Examination) -> int:
    """Classes without those that stand only in `nc` and that no row uses."""
    count = len(found.names)
    while count > 1 and found.names[count - 1] == f"class_{count - 1}":
        if any(c.class_instances[count - 1] for c in found.counts.values()):
            break
        count -= 1
    return count


def _quoted(name: str) -> str:
    """A text that every reader of YAML takes as that text."""
    return "'" + name.replace("'", "''") + "'"


def _write_changes(file: Path, changes: list[Change]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", "line", "change", "reason"])
        writer.writerows([str(c.file), c.line or "", c.change, c.reason] for c in changes)
