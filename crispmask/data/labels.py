"""Label files: one row per instance, `class x1 y1 x2 y2 ...`, coordinates from 0 to 1.

`rows` reads their text, `rings` finds the parts of a row and writes them.

Letters: N instances, P parts, V vertices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crispmask.data.rings import split_rings
from crispmask.data.rows import Row, RowProblem, parse_rows
from crispmask.errors import DatasetError
from crispmask.types import Polygons, Size


@dataclass(frozen=True, slots=True)
class Labels:
    """The instances of one image.

    Attributes:
        labels: (N,) int64.
        crowd: (N,) bool, whether it is a crowd: many objects outlined as one, neither learnt nor
            counted as missed or found. Label files have none, COCO files may.
        part_offsets: (N + 1,) int64; the parts of instance i are `part_offsets[i:i + 2]`.
        point_offsets: (P + 1,) int64; the points of part p are `point_offsets[p:p + 2]`.
        points: (V, 2) float32 xy in [0, 1].
    """

    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    part_offsets: NDArray[np.int64]
    point_offsets: NDArray[np.int64]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def polygons(self, size: Size) -> Polygons:
        """The instances in pixels of an image of this (height, width)."""
        return scale_polygons(self.part_offsets, self.point_offsets, self.points, size)


def scale_polygons(
    part_offsets: NDArray[np.int64],
    point_offsets: NDArray[np.int64],
    points: NDArray[np.float32],
    size: Size,
) -> Polygons:
    """Normalised points as polygons in pixels.

    Args:
        part_offsets: (n + 1,) where the parts of n instances begin in `point_offsets`.
        point_offsets: (P + 1,) where the points of each part begin in `points`.
        points: (V, 2) in [0, 1].
        size: (height, width) of the image.
    """
    height, width = size
    first_part, end_part = int(part_offsets[0]), int(part_offsets[-1])
    bounds = point_offsets[first_part : end_part + 1]
    first, end = int(bounds[0]), int(bounds[-1])
    pixels = points[first:end] * np.array([width, height], dtype=np.float32)
    cuts = (bounds - first).tolist()
    parts = [pixels[a:b] for a, b in pairwise(cuts)]
    groups = (part_offsets - first_part).tolist()
    return tuple(tuple(parts[a:b]) for a, b in pairwise(groups))


def parse_label_file(path: Path, num_classes: int) -> Labels:
    """The instances of a label file; a missing or empty one has none.

    Raises:
        DatasetError: the first problem, and how many more there are.
    """
    labels, problems = read_labels(path, num_classes)
    if problems:
        raise DatasetError(join_problems(problems))
    return labels


def join_problems(problems: Sequence[str]) -> str:
    """One line for all of them: the first one and the number of others."""
    return problems[0] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def read_labels(path: Path, num_classes: int) -> tuple[Labels, list[str]]:
    """The instances of a label file and a line "file:line: problem; fix" for each bad row.

    Args:
        path: the file; a missing one has no instances.
        num_classes: labels must be below.
    """
    try:
        text = read_label_text(path)
    except DatasetError as error:
        return labels_of_rows([]), [str(error)]
    labels, problems = parse_labels(text, num_classes)
    return labels, [f"{path}:{problem.line}: {problem.message}" for problem in problems]


def read_label_text(path: Path) -> str:
    """The text of a label file, empty if there is none.

    Raises:
        DatasetError: it cannot be read as text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}; make it readable or remove it") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 text; save it as plain text") from error


def parse_labels(text: str, num_classes: int) -> tuple[Labels, list[RowProblem]]:
    """The instances in the text of a label file and what is wrong with its other rows.

    Args:
        text: content of the file.
        num_classes: labels must be below.
    """
    rows, problems = parse_rows(text, num_classes)
    return labels_of_rows(rows), problems


def labels_of_rows(rows: Iterable[Row]) -> Labels:
    """The instances of good rows, those that are there twice only once; clipped to [0, 1]."""
    distinct: dict[tuple[int, bytes], Row] = {}
    for row in rows:
        distinct.setdefault((row.label, row.points.tobytes()), row)
    instances = [split_rings(row.points) for row in distinct.values()]
    return labels_of_instances([row.label for row in distinct.values()], instances)


def labels_of_instances(
    labels: Sequence[int],
    instances: Sequence[Sequence[NDArray[np.float64]]],
    crowd: Sequence[bool] | None = None,
) -> Labels:
    """Instances as flat arrays, clipped to [0, 1].

    Args:
        labels: N class indices.
        instances: the rings of each, (V, 2) normalised.
        crowd: whether each is a crowd; None if none is.
    """
    rings = [ring for parts in instances for ring in parts]
    points = np.concatenate(rings) if rings else np.zeros((0, 2))
    return Labels(
        labels=np.array(labels, dtype=np.int64),
        crowd=np.zeros(len(labels), dtype=bool) if crowd is None else np.array(crowd, dtype=bool),
        part_offsets=offsets_of([len(parts) for parts in instances]),
        point_offsets=offsets_of([len(ring) for ring in rings]),
        points=points.clip(0, 1).astype(np.float32),
    )


def offsets_of(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of several runs of this length begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
