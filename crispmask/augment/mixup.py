"""Two samples in one."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from crispmask.types import Sample


def draw_mixup_ratio(rng: np.random.Generator) -> float:
    """Weight of the first image, from Beta(32, 32): nearly always between 0.35 and 0.65."""
    return float(rng.beta(32, 32))


def mix(sample: Sample, other: Sample, ratio: float) -> Sample:
    """Blends two images of one size and joins their instances.

    Source: mixup, arXiv:1710.09412. Labels keep full weight, as in Ultralytics.

    Args:
        sample: gives the index and the first instances.
        other: its instances follow.
        ratio: weight of the first image, in [0, 1].
    """
    blend = cv2.addWeighted(sample.image, ratio, other.image, 1 - ratio, 0)
    return replace(
        sample,
        image=np.asarray(blend, dtype=np.uint8),
        polygons=sample.polygons + other.polygons,
        labels=np.concatenate([sample.labels, other.labels]),
    )
