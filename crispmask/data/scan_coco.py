"""Comparing the images of COCO files with what the files say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crispmask.data.chunks import OnProgress, map_chunks
from crispmask.data.coco_file import about_size
from crispmask.data.coco_images import CocoImages
from crispmask.data.images import image_size
from crispmask.data.index import DatasetIndex
from crispmask.data.index_cache import Files, look_at
from crispmask.errors import DatasetError
from crispmask.types import Size


def look_at_coco(images: CocoImages, num_classes: int) -> Files:
    """Size and time of each image and of its COCO file."""
    source = images.source
    states = [source.files[i] for i in source.file_of.tolist()]
    key = "\0".join([*source.names, "", *(file.path for file in source.files)])
    return look_at(images.texts, num_classes, states, key)


def scan_coco(
    images: CocoImages, workers: int | None, on_progress: OnProgress
) -> tuple[DatasetIndex, list[str]]:
    """The index of the images, and a line for each problem of images and annotations.

    An image that cannot be read has the size (0, 0).

    Args:
        images: of COCO files.
        workers: processes; 0 reads in this one, None takes all cores.
        on_progress: told how it goes.
    """
    source = images.source
    problems = [
        f"{source.file(i)}: {problem}"
        for i in sorted(source.problems)
        for problem in source.problems[i]
        if problem.kind != "empty"
    ]
    kept = source.index.sizes.copy()
    start = 0
    for sizes, wrong in map_chunks(read_sizes, images.texts, (), workers, on_progress):
        problems += wrong
        for i, size in enumerate(sizes, start=start):
            if size is None:
                kept[i] = 0
            elif size != (said := source.index.size(i)):
                problems.append(about_size(images.texts[i], size, said, source.file(i)))
        start += len(sizes)
    return replace(source.index, sizes=kept), problems


def read_sizes(job: tuple[Sequence[str]]) -> tuple[list[Size | None], list[str]]:
    """The size of each image, None with a line for each that cannot be read."""
    sizes: list[Size | None] = []
    problems = []
    for path in job[0]:
        try:
            sizes.append(image_size(path))
        except DatasetError as error:
            sizes.append(None)
            problems.append(str(error))
    return sizes, problems
