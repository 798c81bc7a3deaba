"""Looks at every image and label file, on all cores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crispmask.data.coco_images import CocoImages, CocoSource
from crispmask.data.labels import read_label_text
from crispmask.data.paths import ImagePaths, label_path
from crispmask.data.processes import ProcessDiedError, map_in_processes
from crispmask.doctor.annotations import check_annotations
from crispmask.doctor.kinds import Problem
from crispmask.doctor.picture import look_at
from crispmask.doctor.rows import check_rows
from crispmask.errors import DatasetError
from crispmask.types import Size

_CHUNK = 16
_FEW = 64
"""Up to this many images are looked at before other processes would have started."""


@dataclass(frozen=True, slots=True)
class Task:
    """One image to look at.

    Attributes:
        image: its path.
        split: it belongs to.
    """

    image: Path
    split: str


Job = tuple[Sequence[Task], CocoSource | None]
"""Images, and what COCO files say of them if they have no label files."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one image.

    Attributes:
        image: its path.
        split: it belongs to.
        size: (height, width), (0, 0) if it cannot be read.
        has_labels: whether there is a label file, or a COCO file.
        labels: (N,) int64.
        sides: (N, 2) float32, height and width of each instance in pixels.
        num_parts: rings of all instances.
        digest: hash of the image file, empty if it was not read whole.
        thumb: small grey picture, empty if it was not decoded.
        label_digest: hash of its labels.
        problems: of the image and its label file.
    """

    image: Path
    split: str
    size: Size
    has_labels: bool
    labels: NDArray[np.int64]
    sides: NDArray[np.float32]
    num_parts: int
    digest: bytes
    thumb: bytes
    label_digest: bytes
    problems: tuple[Problem, ...]


def scan(
    splits: Mapping[str, ImagePaths],
    num_classes: int,
    imgsz: int,
    decode: bool,
    workers: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Record]:
    """The record of each image, split after split.

    Args:
        splits: images by split.
        num_classes: labels must be below.
        imgsz: longest side given to the network.
        decode: whether to decode the images; else only their headers are read.
        workers: processes; a few images are looked at in this one.
        on_progress: called now and then with the images done and all there are.

    Raises:
        DatasetError: an image makes the process crash that decodes it.
    """
    look = partial(_look_at_job, num_classes=num_classes, imgsz=imgsz, decode=decode)
    jobs = [job for split, paths in splits.items() for job in _jobs(split, paths)]
    total = sum(map(len, splits.values()))
    records: list[Record] = []
    done = 0
    try:
        for some in map_in_processes(look, jobs, workers if total > _FEW else 0):
            records += some
            done += 1
            on_progress(len(records), total)
    except ProcessDiedError as error:
        first, last = jobs[done][0][0], jobs[done][0][-1]
        raise DatasetError(
            f"{first.image}: a process ended with code {error.code} between this image and "
            f"{last.image}; free some memory, or find the one it cannot read and remove it"
        ) from error
    return records


def _jobs(split: str, paths: ImagePaths) -> Iterator[Job]:
    for start in range(0, len(paths), _CHUNK):
        some = paths[start : start + _CHUNK]
        tasks = [Task(path, split) for path in some]
        yield tasks, some.source if isinstance(some, CocoImages) else None


def _look_at_job(job: Job, num_classes: int, imgsz: int, decode: bool) -> list[Record]:
    tasks, source = job
    if source is None:
        return [look_at_task(task, num_classes, imgsz, decode) for task in tasks]
    return [look_at_annotated(task, source, i, imgsz, decode) for i, task in enumerate(tasks)]


def look_at_annotated(task: Task, source: CocoSource, i: int, imgsz: int, decode: bool) -> Record:
    """The record of image i of a COCO file; other arguments as in `scan`."""
    picture = look_at(task.image, decode)
    problems = [
        Problem(code, task.image, 0, message, task.split, task.image)
        for code, message in picture.findings
    ]
    size, file = source.index.size(i), source.file(i)
    if all(picture.size) and picture.size != size:
        message = f"{_by(picture.size)} pixels, but {_by(size)} in {file.name}"
        problems.append(Problem("image-size", task.image, 0, message, task.split, task.image))
    report = check_annotations(source, i, imgsz)
    problems += [
        Problem(
            f.code,
            file,
            0,
            f"annotation {name}: {f.message}",
            task.split,
            task.image,
            annotation=name,
            weight=f.weight,
        )
        for name, f in report.named
    ]
    return Record(
        image=task.image,
        split=task.split,
        size=picture.size,
        has_labels=True,
        labels=report.rows.labels,
        sides=report.rows.sides,
        num_parts=report.rows.num_parts,
        digest=picture.digest,
        thumb=picture.thumb,
        label_digest=report.digest,
        problems=tuple(problems),
    )


def _by(size: Size) -> str:
    return f"{size[1]} x {size[0]}"


def look_at_task(task: Task, num_classes: int, imgsz: int, decode: bool) -> Record:
    """The record of one image; arguments as in `scan`."""
    picture = look_at(task.image, decode)
    problems = [
        Problem(code, task.image, 0, message, task.split, task.image)
        for code, message in picture.findings
    ]
    file = label_path(task.image)
    text = ""
    has_labels = True
    try:
        text = read_label_text(file)
        if not text and not os.path.lexists(file):
            has_labels = False
            problems.append(
                Problem("label-missing", task.image, 0, f"no {file.name}", task.split, task.image)
            )
    except DatasetError as error:
        message = str(error).removeprefix(f"{file}: ").partition("; ")[0]
        problems.append(Problem("label-unreadable", file, 0, message, task.split, task.image))
    # Of an image that cannot be read the size is unknown; its rows can be checked all the same.
    report = check_rows(
        text, num_classes, picture.size if all(picture.size) else (imgsz,) * 2, imgsz
    )
    problems += [
        Problem(f.code, file, f.line, f.message, task.split, task.image, weight=f.weight)
        for f in report.findings
    ]
    return Record(
        image=task.image,
        split=task.split,
        size=picture.size,
        has_labels=has_labels,
        labels=report.labels,
        sides=report.sides,
        num_parts=report.num_parts,
        digest=picture.digest,
        thumb=picture.thumb,
        label_digest=hashlib.blake2b(text.encode(), digest_size=8).digest(),
        problems=tuple(problems),
    )
