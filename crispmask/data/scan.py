"""Reading the images and label files of a split into an index."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from crispmask.data.chunks import OnProgress, map_chunks
from crispmask.data.coco_images import CocoImages
from crispmask.data.images import image_size
from crispmask.data.index import DatasetIndex, index_of, join_indexes, take_images
from crispmask.data.index_cache import Files, find_index, find_unchanged, keep_index, look_at
from crispmask.data.labels import join_problems, read_labels
from crispmask.data.paths import ImagePaths, label_path, label_text, texts_of
from crispmask.data.scan_coco import look_at_coco, scan_coco
from crispmask.errors import DatasetError
from crispmask.types import Size

OnUnreadable = Callable[[str, str], None]
"""Called with the path of an image that cannot be read, and what is wrong with it."""

_QUICK = 1.0
"""Seconds of reading up to which an index is not kept: it would only fill the cache folder."""

_logger = logging.getLogger(__name__)


def build_index(
    image_paths: Iterable[Path],
    num_classes: int,
    workers: int | None = None,
    on_progress: OnProgress = lambda done: None,
    on_unreadable: OnUnreadable | None = None,
) -> DatasetIndex:
    """Reads the header of each image and its label file.

    Args:
        image_paths: images in the order of the index.
        num_classes: labels must be below.
        workers: processes that read; 0 reads in this one, None takes all cores.
        on_progress: told how it goes.
        on_unreadable: told about images that cannot be read; they are left out then, where
            otherwise they would be an error.

    Raises:
        DatasetError: the first problem of the first bad file, and how many more there are.
    """
    if isinstance(image_paths, CocoImages):
        paths: ImagePaths = image_paths
        files = look_at_coco(image_paths, num_classes)
    else:
        paths = ImagePaths(texts_of(image_paths))
        files = look_at(paths.texts, num_classes)
    index = find_index(files) or _read_index(paths, files, workers, on_progress, on_unreadable)
    if len(index) and not len(index.labels):
        if isinstance(paths, CocoImages):
            _logger.warning("no instances in the %d images of %s", len(index), paths.source.file(0))
        else:
            _logger.warning(
                "no instances in %d images: the first label file would be %s",
                len(index),
                label_path(index.path(0)),
            )
    return index


def _read_index(
    image_paths: ImagePaths,
    files: Files,
    workers: int | None,
    on_progress: OnProgress,
    on_unreadable: OnUnreadable | None,
) -> DatasetIndex:
    """Reads what has changed since an earlier index, and keeps the new one."""
    start = time.perf_counter()
    unchanged = find_unchanged(files)
    earlier, positions = unchanged or (join_indexes([]), np.full(len(files.images), -1))
    new = np.flatnonzero(positions < 0)
    paths = image_paths.take(new.tolist())
    known = len(files.images) - len(new)
    index, problems = scan_dataset(
        paths, files.num_classes, workers, lambda done: on_progress(known + done)
    )
    unreadable = _unreadable(index) if problems and on_unreadable else {}
    if wrong := [problem for problem in problems if problem not in unreadable.values()]:
        raise DatasetError(join_problems(wrong))
    if len(new) < len(files.images):
        positions[new] = len(earlier) + np.arange(len(new))
        index = take_images(join_indexes([earlier, index]), positions)
    if unreadable and on_unreadable:
        for path, problem in unreadable.items():
            on_unreadable(path, problem)
        # Not kept: the next time they may be there again.
        return take_images(index, np.flatnonzero(index.sizes[:, 0] > 0))
    if time.perf_counter() - start < _QUICK:
        return index
    return keep_index(index, files)


def _unreadable(index: DatasetIndex) -> dict[str, str]:
    """What is wrong with each image that cannot be read, by path."""
    found = {}
    for i in np.flatnonzero(index.sizes[:, 0] == 0).tolist():
        path = str(index.path(i))
        try:
            image_size(path)
        except DatasetError as error:
            found[path] = str(error)
    return found


def scan_dataset(
    image_paths: Iterable[Path],
    num_classes: int,
    workers: int | None = None,
    on_progress: OnProgress = lambda done: None,
) -> tuple[DatasetIndex, list[str]]:
    """What can be read of the images and label files, and a line for each problem.

    An unreadable image has the size (0, 0). Arguments as in `build_index`.
    """
    if isinstance(image_paths, CocoImages):
        return scan_coco(image_paths, workers, on_progress)
    texts = texts_of(image_paths)
    indexes, problems = [], []
    for index, found in map_chunks(scan_files, texts, (num_classes,), workers, on_progress):
        indexes.append(index)
        problems += found
    return join_indexes(indexes), problems


def scan_files(job: tuple[Sequence[str], int]) -> tuple[DatasetIndex, list[str]]:
    """Reads images, given as paths and the number of classes, in this process."""
    paths, num_classes = job
    sizes: list[Size] = []
    labels, problems = [], []
    for path in paths:
        found, wrong = read_labels(Path(label_text(path)), num_classes)
        try:
            sizes.append(image_size(path))
        except DatasetError as error:
            sizes.append((0, 0))
            problems.append(str(error))
        labels.append(found)
        problems += wrong
    return index_of(paths, sizes, labels), problems
