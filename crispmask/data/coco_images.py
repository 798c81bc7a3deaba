"""The images of COCO files, which hold their instances."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from crispmask.data.coco_rows import AnnotationProblem
from crispmask.data.coco_table import CocoTable, labels_among
from crispmask.data.index import DatasetIndex, join_indexes, take_images, take_runs
from crispmask.data.index_cache import FileState
from crispmask.data.labels import offsets_of
from crispmask.data.paths import ImagePaths


@dataclass(frozen=True, slots=True)
class CocoSource:
    """What COCO files say of the images of a split.

    Attributes:
        index: paths, sizes and instances as in the files.
        ids: (N,) int64, the annotation of each instance; -1 where it is no number.
        names: class names that the labels count.
        files: the COCO files.
        file_of: (I,) int64, the file of each image.
        problems: annotations that are not used, by position of the image.
    """

    index: DatasetIndex
    ids: NDArray[np.int64]
    names: tuple[str, ...]
    files: tuple[FileState, ...]
    file_of: NDArray[np.int64]
    problems: dict[int, tuple[AnnotationProblem, ...]]

    def file(self, i: int) -> Path:
        """The COCO file of image i."""
        return Path(self.files[int(self.file_of[i])].path)

    def ids_of(self, i: int) -> list[int]:
        """The annotations of the instances of image i."""
        first, end = self.index.image_offsets[i : i + 2].tolist()
        return self.ids[first:end].tolist()

    def take(self, positions: NDArray[np.int64]) -> CocoSource:
        """The images at these positions, in this order."""
        instances, _ = take_runs(self.index.image_offsets, positions)
        return CocoSource(
            take_images(self.index, positions),
            self.ids[instances],
            self.names,
            self.files,
            self.file_of[positions],
            {
                new: self.problems[old]
                for new, old in enumerate(positions.tolist())
                if old in self.problems
            },
        )


class CocoImages(ImagePaths):
    """Paths of images whose instances stand in COCO files, not in label files.

    Args:
        source: what the files say.
    """

    def __init__(self, source: CocoSource) -> None:
        super().__init__(source.index.paths())
        self.source = source

    @overload
    def __getitem__(self, i: int) -> Path: ...

    @overload
    def __getitem__(self, i: slice) -> CocoImages: ...

    def __getitem__(self, i: int | slice) -> Path | CocoImages:
        if isinstance(i, slice):
            return self.take(range(len(self))[i])
        return Path(self.texts[i])

    def take(self, positions: Sequence[int]) -> CocoImages:
        """The images at these positions, in this order."""
        return CocoImages(self.source.take(np.array(positions, dtype=np.int64)))


def join_tables(
    tables: Sequence[CocoTable], paths: Sequence[Sequence[str]], names: Sequence[str]
) -> CocoImages:
    """The images of COCO files, one file after the other.

    Args:
        tables: at least one.
        paths: the images of each, in its order.
        names: class names by label.
    """
    indexes = []
    problems: dict[int, tuple[AnnotationProblem, ...]] = {}
    start = 0
    for table, found in zip(tables, paths, strict=True):
        encoded = [os.fsencode(path) for path in found]
        labels = labels_among(table, names)
        indexes.append(
            replace(
                table.index,
                labels=labels[table.index.labels],
                path_bytes=np.frombuffer(b"".join(encoded), dtype=np.uint8),
                path_offsets=offsets_of([len(path) for path in encoded]),
            )
        )
        for found_in in table.problems:
            i = start + found_in.image
            problem = found_in.problem
            problem = replace(problem, label=int(labels[problem.label]))
            problems[i] = (*problems.get(i, ()), problem)
        start += len(found)
    return CocoImages(
        CocoSource(
            indexes[0] if len(indexes) == 1 else join_indexes(indexes),
            np.concatenate([table.ids for table in tables]),
            tuple(names),
            tuple(table.state for table in tables),
            np.repeat(np.arange(len(tables)), [len(found) for found in paths]),
            problems,
        )
    )
