"""How many images, instances and classes a dataset has, and how large they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crispmask.doctor.kinds import Problem
from crispmask.doctor.scan import Record
from crispmask.types import Size

RARE = 50
"""Times a class may be rarer than the most frequent one."""

SIZE_NAMES = ("tiny", "small", "medium", "large")
SIZE_LIMITS = (8.0, 32.0, 96.0)
"""Square root of the box area in pixels at `imgsz` that separates the sizes; the last two are
those of COCO."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Smallest, middle and largest of some values; zeros without any."""

    low: float
    median: float
    high: float
    mean: float


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """The numbers of one split.

    Attributes:
        images: all.
        unreadable: images that cannot be read.
        without_labels: images without label file.
        backgrounds: images without instances, those without label file included.
        instances: all that can be used.
        parts: rings of all instances.
        class_instances: instances of each class.
        class_images: images with each class.
        per_image: instances per image that has any.
        image_sizes: the most frequent (height, width) with their numbers.
        num_image_sizes: different sizes.
        instance_sides: square root of the box area at `imgsz`, pixels.
        size_counts: instances of each of `SIZE_NAMES`.
    """

    images: int
    unreadable: int
    without_labels: int
    backgrounds: int
    instances: int
    parts: int
    class_instances: tuple[int, ...]
    class_images: tuple[int, ...]
    per_image: Quantiles
    image_sizes: tuple[tuple[Size, int], ...]
    num_image_sizes: int
    instance_sides: Quantiles
    size_counts: tuple[int, ...]


def count_split(records: Sequence[Record], num_classes: int, imgsz: int) -> SplitCounts:
    """The numbers of a split.

    Args:
        records: its images.
        num_classes: at least one more than the largest label counts.
        imgsz: longest side given to the network.
    """
    numbers = np.array([len(r.labels) for r in records], dtype=np.int64)
    labels = _join([r.labels for r in records], np.zeros(0, np.int64))
    present = _join([np.unique(r.labels) for r in records], np.zeros(0, np.int64))
    sides = [
        np.sqrt(r.sides.prod(axis=1)) * min(1.0, imgsz / max(r.size))
        for r in records
        if all(r.size)
    ]
    side = _join(sides, np.zeros(0))
    sizes = Counter(r.size for r in records if all(r.size))
    bins = np.searchsorted(SIZE_LIMITS, side, side="right")
    return SplitCounts(
        images=len(records),
        unreadable=sum(not all(r.size) for r in records),
        without_labels=sum(not r.has_labels for r in records),
        backgrounds=int((numbers == 0).sum()),
        instances=len(labels),
        parts=sum(r.num_parts for r in records),
        class_instances=tuple(np.bincount(labels, minlength=num_classes).tolist()),
        class_images=tuple(np.bincount(present, minlength=num_classes).tolist()),
        per_image=_quantiles(numbers[numbers > 0]),
        image_sizes=tuple(sizes.most_common(3)),
        num_image_sizes=len(sizes),
        instance_sides=_quantiles(side),
        size_counts=tuple(np.bincount(bins, minlength=len(SIZE_NAMES)).tolist()),
    )


def find_imbalance(
    counts: Mapping[str, SplitCounts], names: Sequence[str], file: Path
) -> Iterator[Problem]:
    """Splits and classes without instances, and rare classes.

    Args:
        counts: of each split.
        names: class names by label.
        file: the data.yaml, which the problems are told of.
    """
    for split, count in counts.items():
        if not count.images or split == "test":  # a test set may have no labels
            continue
        if not count.instances:
            message = f"none of the {count.images} images of {split} has an instance"
            yield Problem("split-empty", file, 0, message, split)
            continue
        if count.without_labels > count.images / 2:
            message = f"{count.without_labels} of {count.images} images of {split} have none"
            yield Problem("split-background", file, 0, message, split)
        most = max(count.class_instances)
        for label, (name, number) in enumerate(zip(names, count.class_instances, strict=False)):
            if not number:
                message = f"class {label} ({name}) has no instance in {split}"
                yield Problem("class-empty", file, 0, message, split)
            elif number * RARE < most:
                message = f"class {label} ({name}): {number} instances in {split}, another {most}"
                yield Problem("class-rare", file, 0, message, split, weight=most / number)


def _join(arrays: Sequence[NDArray], empty: NDArray) -> NDArray:
    return np.concatenate([empty, *arrays])


def _quantiles(values: NDArray) -> Quantiles:
    if not len(values):
        return Quantiles(0.0, 0.0, 0.0, 0.0)
    return Quantiles(
        float(values.min()), float(np.median(values)), float(values.max()), float(values.mean())
    )
