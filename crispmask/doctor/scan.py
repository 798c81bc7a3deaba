"""Looks at every image and label file, on all cores."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crispmask.data.labels import read_label_text
from crispmask.data.paths import label_path
from crispmask.data.processes import ProcessDiedError, map_in_processes
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


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one image.

    Attributes:
        image: its path.
        split: it belongs to.
        size: (height, width), (0, 0) if it cannot be read.
        has_labels: whether there is a label file.
        labels: (N,) int64.
        sides: (N, 2) float32, height and width of each instance in pixels.
        num_parts: rings of all instances.
        digest: hash of the image file, empty if it was not read whole.
        thumb: small grey picture, empty if it was not decoded.
        label_digest: hash of the label file.
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
    tasks: Sequence[Task],
    num_classes: int,
    imgsz: int,
    decode: bool,
    workers: int,
    on_progress: Callable[[int, int], None],
) -> list[Record]:
    """A record of each image, in order.

    Args:
        tasks: the images.
        num_classes: labels must be below.
        imgsz: longest side given to the network.
        decode: whether to decode the images; else only their headers are read.
        workers: processes; a few images are looked at in this one.
        on_progress: called now and then with the images done and all there are.

    Raises:
        DatasetError: an image makes the process crash that decodes it.
    """
    look = partial(_look_at_tasks, num_classes=num_classes, imgsz=imgsz, decode=decode)
    jobs = [tasks[i : i + _CHUNK] for i in range(0, len(tasks), _CHUNK)]
    records: list[Record] = []
    try:
        for some in map_in_processes(look, jobs, workers if len(tasks) > _FEW else 0):
            records += some
            on_progress(len(records), len(tasks))
    except ProcessDiedError as error:
        job = jobs[len(records) // _CHUNK]
        raise DatasetError(
            f"{job[0].image}: a process ended with code {error.code} between this image and "
            f"{job[-1].image}; free some memory, or find the one it cannot read and remove it"
        ) from error
    return records


def _look_at_tasks(
    tasks: Sequence[Task], num_classes: int, imgsz: int, decode: bool
) -> list[Record]:
    return [look_at_task(task, num_classes, imgsz, decode) for task in tasks]


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
