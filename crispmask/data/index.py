"""All annotations of a split in a few flat arrays: cheap to hand to worker processes.

Letters: I images, N instances, P parts, V vertices, Q bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crispmask.data.array_file import map_arrays
from crispmask.data.labels import Labels, offsets_of, scale_polygons
from crispmask.types import Polygons, Size

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True)
class DatasetIndex:
    """The images of a split and their instances.

    Attributes:
        path_bytes: (Q,) uint8, image paths as the file system spells them, one after the other.
        path_offsets: (I + 1,) int64; the path of image i is `path_offsets[i:i + 2]`.
        sizes: (I, 2) int64, (height, width) of the upright images.
        labels: (N,) int64.
        crowd: (N,) bool; crowds are part of the ground truth, but nothing to learn.
        image_offsets: (I + 1,) int64; instances of image i are `image_offsets[i:i + 2]`.
        part_offsets: (N + 1,) int64; parts of instance n are `part_offsets[n:n + 2]`.
        point_offsets: (P + 1,) int64; points of part p are `point_offsets[p:p + 2]`.
        points: (V, 2) float32 xy in [0, 1].
        file: where the arrays are mapped from, and its key; None if they are in memory. Other
            processes are told only this.
    """

    path_bytes: NDArray[np.uint8]
    path_offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    image_offsets: NDArray[np.int64]
    part_offsets: NDArray[np.int64]
    point_offsets: NDArray[np.int64]
    points: NDArray[np.float32]
    file: tuple[Path, str] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is not None:
            return map_index, self.file
        return DatasetIndex, tuple(getattr(self, name) for name in ARRAYS)

    def __len__(self) -> int:
        return len(self.sizes)

    def path(self, i: int) -> Path:
        """The file of image i."""
        first, end = self.path_offsets[i : i + 2].tolist()
        return Path(os.fsdecode(self.path_bytes[first:end].tobytes()))

    def paths(self) -> list[str]:
        """The files of all images."""
        text = self.path_bytes.tobytes()
        return [os.fsdecode(text[a:b]) for a, b in pairwise(self.path_offsets.tolist())]

    def size(self, i: int) -> Size:
        """(height, width) of image i, upright."""
        height, width = self.sizes[i].tolist()
        return height, width

    def annotation(self, i: int, size: Size) -> tuple[Polygons, NDArray[np.int64]]:
        """Instances of image i when it has the given size, without crowds.

        Args:
            i: position of the image.
            size: (height, width) of the frame the polygons shall be in.

        Returns:
            The polygons in pixels, and the labels (n,).
        """
        polygons, labels, crowd = self.annotation_with_crowds(i, size)
        if not crowd.any():
            return polygons, labels
        kept = tuple(parts for parts, alone in zip(polygons, ~crowd, strict=True) if alone)
        return kept, labels[~crowd]

    def annotation_with_crowds(
        self, i: int, size: Size
    ) -> tuple[Polygons, NDArray[np.int64], NDArray[np.bool_]]:
        """All of image i, and which instances are crowds (n,); else as `annotation`."""
        first, end = self.image_offsets[i : i + 2].tolist()
        polygons = scale_polygons(
            self.part_offsets[first : end + 1], self.point_offsets, self.points, size
        )
        return polygons, self.labels[first:end].copy(), self.crowd[first:end].copy()

    def num_instances(self) -> int:
        """Instances of all images, without crowds."""
        return len(self.crowd) - int(np.count_nonzero(self.crowd))


ARRAYS = (
    *("path_bytes", "path_offsets", "sizes", "labels", "crowd"),
    *("image_offsets", "part_offsets", "point_offsets", "points"),
)
"""The fields of an index that are arrays, in order."""


def map_index(path: Path, key: str, check: bool = False) -> DatasetIndex:
    """The index in a file, in memory that all processes share.

    Args:
        path: of the file.
        key: it was written with.
        check: whether to look for damage first.

    Raises:
        DamagedFileError: it is not what was written.
        OSError: no such file, or it cannot be read.
    """
    return index_of_arrays(map_arrays(path, key, check), file=(path, key))


def index_of_arrays(
    arrays: Mapping[str, NDArray[Any]], file: tuple[Path, str] | None = None
) -> DatasetIndex:
    """The index of arrays under the names of its fields.

    Args:
        arrays: at least those of `ARRAYS`.
        file: where they are mapped from, if they are there alone.
    """
    return DatasetIndex(**{name: arrays[name] for name in ARRAYS}, file=file)


def index_of(paths: Sequence[str], sizes: Sequence[Size], labels: Sequence[Labels]) -> DatasetIndex:
    """The index of images whose annotations were read.

    Args:
        paths: of the images.
        sizes: (height, width) of the upright images.
        labels: the instances of each image.
    """
    encoded = [os.fsencode(path) for path in paths]
    return DatasetIndex(
        path_bytes=np.frombuffer(b"".join(encoded), dtype=np.uint8),
        path_offsets=offsets_of([len(path) for path in encoded]),
        sizes=np.array(sizes, dtype=np.int64).reshape(-1, 2),
        labels=_join([found.labels for found in labels], np.zeros(0, dtype=np.int64)),
        crowd=_join([found.crowd for found in labels], np.zeros(0, dtype=bool)),
        image_offsets=offsets_of([len(found) for found in labels]),
        part_offsets=_chain([found.part_offsets for found in labels]),
        point_offsets=_chain([found.point_offsets for found in labels]),
        points=_join([found.points for found in labels], np.zeros((0, 2), dtype=np.float32)),
    )


def join_indexes(indexes: Sequence[DatasetIndex]) -> DatasetIndex:
    """The images of several indexes, one index after the other."""
    return DatasetIndex(
        path_bytes=_join([index.path_bytes for index in indexes], np.zeros(0, dtype=np.uint8)),
        path_offsets=_chain([index.path_offsets for index in indexes]),
        sizes=_join([index.sizes for index in indexes], np.zeros((0, 2), dtype=np.int64)),
        labels=_join([index.labels for index in indexes], np.zeros(0, dtype=np.int64)),
        crowd=_join([index.crowd for index in indexes], np.zeros(0, dtype=bool)),
        image_offsets=_chain([index.image_offsets for index in indexes]),
        part_offsets=_chain([index.part_offsets for index in indexes]),
        point_offsets=_chain([index.point_offsets for index in indexes]),
        points=_join([index.points for index in indexes], np.zeros((0, 2), dtype=np.float32)),
    )


def take_images(index: DatasetIndex, positions: NDArray[np.int64]) -> DatasetIndex:
    """The images at these positions, in this order."""
    paths, path_offsets = take_runs(index.path_offsets, positions)
    instances, image_offsets = take_runs(index.image_offsets, positions)
    parts, part_offsets = take_runs(index.part_offsets, instances)
    points, point_offsets = take_runs(index.point_offsets, parts)
    return DatasetIndex(
        path_bytes=index.path_bytes[paths],
        path_offsets=path_offsets,
        sizes=index.sizes[positions],
        labels=index.labels[instances],
        crowd=index.crowd[instances],
        image_offsets=image_offsets,
        part_offsets=part_offsets,
        point_offsets=point_offsets,
        points=index.points[points],
    )


def take_runs(
    offsets: NDArray[np.int64], runs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What chosen runs hold, as positions, and the offsets of these runs in it."""
    counts = offsets[runs + 1] - offsets[runs]
    chosen = offsets_of(counts)
    return np.arange(chosen[-1]) + np.repeat(offsets[runs] - chosen[:-1], counts), chosen


def _join(arrays: Sequence[NDArray[T]], empty: NDArray[T]) -> NDArray[T]:
    return np.concatenate(arrays) if arrays else empty


def _chain(offsets: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Offsets of several arrays, each from 0, as offsets into their concatenation."""
    return offsets_of(np.concatenate([np.diff(o) for o in offsets]) if offsets else [])
