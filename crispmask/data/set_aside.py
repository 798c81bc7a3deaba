"""Images to validate on, where a dataset names none."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

from crispmask.data.paths import path_from
from crispmask.data.spec import DatasetSpec, read_spec
from crispmask.errors import DatasetError


def read_with_val(data: str | Path, val_fraction: float = 0.0) -> DatasetSpec:
    """Reads a dataset that has images to validate on, or sets some of the training images aside.

    Args:
        data: path of a data.yaml.
        val_fraction: of the training images, if the dataset names none to validate on.

    Raises:
        DatasetError: it has none and none are to be set aside, or it has and some are.
    """
    return with_val(read_spec(data), val_fraction)


def with_val(spec: DatasetSpec, val_fraction: float = 0.0) -> DatasetSpec:
    """The dataset with images to validate on; arguments and errors as of `read_with_val`."""
    if spec.val and val_fraction:
        raise DatasetError(
            f"{spec.file}: has {len(spec.val)} images to validate on; leave --val-fraction out"
        )
    if spec.val:
        return spec
    if not val_fraction:
        raise DatasetError(
            f"{spec.file}: no images to validate on; name them in a line such as val: images/val, "
            "or set training images aside with --val-fraction 0.2"
        )
    return set_aside(spec, val_fraction)


def set_aside(spec: DatasetSpec, fraction: float) -> DatasetSpec:
    """Moves some images from `train` to `val`.

    Which ones depends on their paths from the root alone: the same for every seed, model and
    command, so that results can be compared, and nearly the same once images are added.

    Args:
        spec: a dataset without `val`.
        fraction: of the images of `train`, above 0 and below 1; at least one is moved and one
            stays.

    Raises:
        DatasetError: there are less than two images.
    """
    num = len(spec.train)
    if num < 2:
        raise DatasetError(f"{spec.file}: {num} images cannot be split; add some to train")
    order = sorted(range(num), key=lambda i: _rank(path_from(spec.train.texts[i], spec.root)))
    chosen = set(order[: min(max(round(num * fraction), 1), num - 1)])
    val = spec.train.take(sorted(chosen))
    note = f"{len(val)} of {num} training images are set aside to validate on"
    return replace(
        spec,
        train=spec.train.take([i for i in range(num) if i not in chosen]),
        val=val,
        notes=(*spec.notes, note),
    )


def _rank(path: str) -> bytes:
    name = path.replace(os.sep, "/")
    return hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
