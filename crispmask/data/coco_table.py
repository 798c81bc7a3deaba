"""A COCO file in flat arrays: read once, on all cores, and kept in the cache folder."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crispmask.data.array_file import DamagedFileError, map_arrays, write_arrays
from crispmask.data.coco_file import CocoFile, CocoImage, read_coco_file
from crispmask.data.coco_rows import AnnotationProblem, CocoRows, read_rows
from crispmask.data.index import ARRAYS, DatasetIndex, index_of, index_of_arrays
from crispmask.data.index_cache import FileState, state_of
from crispmask.data.processes import map_in_processes, usable_cpus
from crispmask.errors import OutputError

_CHUNK = 256
"""Images whose annotations a process reads at a time."""

_FEW = 20_000
"""Annotations up to which starting processes takes longer than reading."""

_QUICK = 1.0
"""Seconds of reading up to which the arrays are not kept: they would only fill the cache folder."""

_LARGE = 50_000_000
"""Bytes of a file that is worth a word before it is read."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImageProblem:
    """An annotation that is not used, and its image."""

    image: int
    problem: AnnotationProblem


@dataclass(frozen=True, slots=True)
class CocoTable:
    """A COCO file in flat arrays.

    Attributes:
        path: of the file.
        state: of the file when it was read.
        categories: class name by category id, ids ascending.
        index: its images; the paths are the file names, the labels count the categories.
        ids: (N,) int64, the annotation of each instance; -1 where it is no number.
        problems: the annotations that are not used.
    """

    path: Path
    state: FileState
    categories: Mapping[int, str]
    index: DatasetIndex
    ids: NDArray[np.int64]
    problems: tuple[ImageProblem, ...]


def read_coco_table(path: Path) -> CocoTable:
    """The content of a COCO file.

    Raises:
        DatasetError: no JSON, or not a COCO annotation file.
    """
    path = Path(os.path.abspath(path))
    return _read(path, state_of(path))


@lru_cache(maxsize=8)
def _read(path: Path, state: FileState) -> CocoTable:
    """Once in a process: commands ask for it again."""
    kept = state.place("coco")
    try:
        return _load(kept, path, state)
    except FileNotFoundError:
        pass
    except (OSError, DamagedFileError) as error:
        _logger.warning("%s: not used (%s); %s is read again", kept, error, path)
    if state.size > _LARGE:
        _logger.warning("reading %s, %d MB; the next time it is quick", path, state.size / 1e6)
    start = time.perf_counter()
    table = _table(read_coco_file(path), state)
    if time.perf_counter() - start > _QUICK and state.settled:
        _keep(table, kept)
    return table


def _table(file: CocoFile, state: FileState) -> CocoTable:
    labels_by_id = {category: label for label, category in enumerate(file.categories)}
    jobs = [(file.images[i : i + _CHUNK], labels_by_id) for i in range(0, len(file.images), _CHUNK)]
    many = sum(len(image.annotations) for image in file.images) > _FEW
    found = [
        rows
        for some in map_in_processes(_read_images, jobs, usable_cpus() if many else 0)
        for rows in some
    ]
    index = index_of(
        [image.file_name for image in file.images],
        [image.size for image in file.images],
        [rows.labels for rows in found],
    )
    problems = tuple(
        ImageProblem(i, problem) for i, rows in enumerate(found) for problem in rows.problems
    )
    ids = np.concatenate([np.zeros(0, dtype=np.int64), *(rows.ids for rows in found)])
    return CocoTable(file.path, state, dict(file.categories), index, ids, problems)


def _read_images(job: tuple[Sequence[CocoImage], dict[int, int]]) -> list[CocoRows]:
    images, labels_by_id = job
    return [read_rows(image.annotations, image.size, labels_by_id) for image in images]


def _load(kept: Path, path: Path, state: FileState) -> CocoTable:
    arrays = map_arrays(kept, state.key)
    rest = json.loads(arrays["rest"].tobytes())
    return CocoTable(
        path,
        state,
        {int(category): name for category, name in rest["categories"].items()},
        index_of_arrays(arrays),
        arrays["ids"],
        tuple(
            ImageProblem(image, AnnotationProblem(kind, number, message, label, tuple(box)))
            for image, kind, number, message, label, box in rest["problems"]
        ),
    )


def _keep(table: CocoTable, kept: Path) -> None:
    """Writes the arrays for the next time, if that can be."""
    rest = {
        "categories": table.categories,
        "problems": [
            (p.image, q.kind, q.annotation, q.message, q.label, q.box)
            for p in table.problems
            for q in (p.problem,)
        ],
    }
    arrays = {
        **{name: getattr(table.index, name) for name in ARRAYS},
        "ids": table.ids,
        "rest": np.frombuffer(json.dumps(rest).encode(), dtype=np.uint8),
    }
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(kept, table.state.key, arrays)
        table.state.remove_old("coco")
    except (OSError, OutputError) as error:
        _logger.warning("%s: cannot be kept (%s); %s is read again", kept, error, table.path)


def labels_among(table: CocoTable, names: Sequence[str]) -> NDArray[np.int64]:
    """(C + 1,) the label of each of C categories by its name, and -1 for what is none.

    It is -1, too, where names lacks the category.
    """
    label_of = {name: label for label, name in enumerate(names)}
    labels = [label_of.get(name, -1) for name in table.categories.values()]
    return np.array([*labels, -1], dtype=np.int64)
