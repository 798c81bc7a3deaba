"""The user's own change of training samples: a function, or a pipeline of Albumentations.

Albumentations is neither imported nor needed. What tells its transforms from a function is the
attribute `available_keys`, the names of what a transform can change.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.errors import ConfigError
from crispmask.geometry.outline import mask_to_parts
from crispmask.geometry.raster import rasterise
from crispmask.types import Sample

Transform = Callable[..., Any] | Sequence[Callable[..., Any]]
"""`fn(image, rng) -> image`, a transform of Albumentations, or several of these in order."""


def apply_transform(transform: Transform, sample: Sample, rng: np.random.Generator) -> Sample:
    """The sample changed by the user's transform.

    Args:
        transform: a function changes pixels only: it gets (H, W, 3) uint8 RGB, an array of its
            own, and the generator that all its randomness must come from. A transform of
            Albumentations may also move things: the masks of all instances go with the image.
        sample: its instances are returned as they are, unless their masks change.
        rng: equal states give equal samples.

    Raises:
        ConfigError: the result has another shape or type.
    """
    if isinstance(transform, Sequence):
        for step in transform:
            sample = apply_transform(step, sample, rng)
        return sample
    if hasattr(transform, "available_keys"):
        return _apply_albumentations(transform, sample, rng)
    image = transform(sample.image.copy(), rng)
    return replace(sample, image=_checked(image, sample, transform))


def _apply_albumentations(
    transform: Callable[..., Any], sample: Sample, rng: np.random.Generator
) -> Sample:
    """Image and masks through one call, so that both take the same way."""
    size = sample.image.shape[:2]
    masks = rasterise(sample.polygons, size).astype(np.uint8)
    with _seeded(transform, int(rng.integers(2**31))):
        if len(masks):
            result = transform(image=sample.image.copy(), masks=list(masks))
        else:
            result = transform(image=sample.image.copy())
    image = _checked(result["image"], sample, transform)
    moved = [np.asarray(mask) > 0 for mask in result.get("masks", ())]
    # Outlines of masks follow pixel edges: instances that did not change keep their own.
    polygons = tuple(
        parts if np.array_equal(new, old) else mask_to_parts(new)
        for parts, new, old in zip(sample.polygons, moved, masks > 0, strict=True)
    )
    kept = np.array([bool(parts) for parts in polygons], dtype=bool)
    return replace(
        sample,
        image=image,
        polygons=tuple(parts for parts in polygons if parts),
        labels=sample.labels[kept],
    )


@contextmanager
def _seeded(transform: Any, seed: int) -> Iterator[None]:
    """Lets a transform draw from this seed: its own generator, or the global ones of old days."""
    if hasattr(transform, "set_random_seed"):
        transform.set_random_seed(seed)
        yield
        return
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  # what it draws from
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # as above
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002  # as above


def _checked(image: Any, sample: Sample, transform: Any) -> NDArray[np.uint8]:
    """The image, if it is one of the same shape and type."""
    shape = sample.image.shape
    if isinstance(image, np.ndarray) and image.shape == shape and image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    found = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image)
    name = getattr(transform, "__name__", type(transform).__name__)
    raise ConfigError(f"transform {name} must return an image uint8 {shape}, not {found}")
