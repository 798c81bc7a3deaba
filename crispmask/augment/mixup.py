"""Two samples in one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def draw_mixup_ratio(rng: np.random.Generator) -> float:
    """Weight of the first image, from Beta(32, 32): nearly always between 0.35 and 0.65."""
    return float(rng.beta(32, 32))


def blend(image: NDArray[np.uint8], other: NDArray[np.uint8], ratio: float) -> NDArray[np.uint8]:
    """Blends two images of one size; the instances of both keep full weight, as in Ultralytics.

    Source: mixup, arXiv:1710.09412.

    Args:
        image: (H, W, C).
        other: the same shape.
        ratio: weight of the first image, in [0, 1].
    """
    return np.asarray(cv2.addWeighted(image, ratio, other, 1 - ratio, 0), dtype=np.uint8)
