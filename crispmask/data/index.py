"""All annotations of a split in a few flat arrays: cheap to hand to worker processes.

Letters: I images, N instances, P parts, V vertices.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from crispmask.data.images import image_size
from crispmask.data.labels import Labels, join_problems, label_path, read_labels, scale_polygons
from crispmask.errors import DatasetError
from crispmask.types import Polygons, Size

T = TypeVar("T", bound=np.generic)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DatasetIndex:
    """The images of a split and their instances.

    Attributes:
        paths: (I,) bytes, image paths as the file system spells them.
        sizes: (I, 2) int64, (height, width) of the upright images.
        labels: (N,) int64.
        image_offsets: (I + 1,) int64; instances of image i are `image_offsets[i:i + 2]`.
        part_offsets: (N + 1,) int64; parts of instance n are `part_offsets[n:n + 2]`.
        point_offsets: (P + 1,) int64; points of part p are `point_offsets[p:p + 2]`.
        points: (V, 2) float32 xy in [0, 1].
    """

    paths: NDArray[np.bytes_]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    image_offsets: NDArray[np.int64]
    part_offsets: NDArray[np.int64]
    point_offsets: NDArray[np.int64]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.sizes)

    def path(self, i: int) -> Path:
        """The file of image i."""
        return Path(os.fsdecode(bytes(self.paths[i])))

    def size(self, i: int) -> Size:
        """(height, width) of image i, upright."""
        height, width = self.sizes[i].tolist()
        return height, width

    def annotation(self, i: int, size: Size) -> tuple[Polygons, NDArray[np.int64]]:
        """Instances of image i when it has the given size.

        Args:
            i: position of the image.
            size: (height, width) of the frame the polygons shall be in.

        Returns:
            The polygons in pixels, and the labels (n,).
        """
        first, end = self.image_offsets[i : i + 2].tolist()
        polygons = scale_polygons(
            self.part_offsets[first : end + 1], self.point_offsets, self.points, size
        )
        return polygons, self.labels[first:end].copy()


def build_index(
    image_paths: Iterable[Path], num_classes: int, workers: int | None = None
) -> DatasetIndex:
    """Reads the header of each image and its label file.

    Args:
        image_paths: images in the order of the index.
        num_classes: labels must be below.
        workers: threads that read; 0 reads in this one, None takes 4.

    Raises:
        DatasetError: the first problem of the first bad file, and how many more there are.
    """
    index, problems = scan_dataset(image_paths, num_classes, workers)
    if problems:
        raise DatasetError(join_problems(problems))
    if len(index) and not len(index.labels):
        _logger.warning(
            "no instances in %d images: the first label file would be %s",
            len(index),
            label_path(index.path(0)),
        )
    return index


def scan_dataset(
    image_paths: Iterable[Path], num_classes: int, workers: int | None = None
) -> tuple[DatasetIndex, list[str]]:
    """What can be read of the images and label files, and a line for each problem.

    An unreadable image has the size (0, 0). Arguments as in `build_index`.
    """
    paths = list(image_paths)

    def scan(path: Path) -> tuple[Size, Labels, list[str]]:
        labels, problems = read_labels(label_path(path), num_classes)
        try:
            return image_size(path), labels, problems
        except DatasetError as error:
            return (0, 0), labels, [str(error), *problems]

    # Threads, not processes: most of the time is waiting for files, and processes would need a
    # main guard in the scripts of users.
    threads = 4 if workers is None else workers
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            scanned = list(pool.map(scan, paths))
    else:
        scanned = [scan(path) for path in paths]
    found = [labels for _, labels, _ in scanned]
    index = DatasetIndex(
        paths=np.array([os.fsencode(path) for path in paths] or [b""])[: len(paths)],
        sizes=np.array([size for size, _, _ in scanned], dtype=np.int64).reshape(-1, 2),
        labels=_join([labels.labels for labels in found], np.zeros(0, dtype=np.int64)),
        image_offsets=_offsets([len(labels) for labels in found]),
        part_offsets=_chain([labels.part_offsets for labels in found]),
        point_offsets=_chain([labels.point_offsets for labels in found]),
        points=_join([labels.points for labels in found], np.zeros((0, 2), dtype=np.float32)),
    )
    return index, [problem for _, _, problems in scanned for problem in problems]


def _join(arrays: Sequence[NDArray[T]], empty: NDArray[T]) -> NDArray[T]:
    return np.concatenate(arrays) if arrays else empty


def _chain(offsets: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Offsets of files, each from 0, as offsets into their concatenation."""
    return _offsets(np.concatenate([np.diff(o) for o in offsets]) if offsets else [])


def _offsets(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
