"""Mirror images."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from crispmask.geometry.polygons import transform_polygons
from crispmask.types import Sample


def flip_horizontal(sample: Sample) -> Sample:
    """Mirrors image and polygons left to right; x becomes W - x."""
    width = sample.image.shape[1]
    matrix = np.array([[-1, 0, width], [0, 1, 0]], dtype=np.float64)
    return replace(
        sample,
        image=np.asarray(cv2.flip(sample.image, 1), dtype=np.uint8),
        polygons=transform_polygons(sample.polygons, matrix),
    )


def flip_vertical(sample: Sample) -> Sample:
    """Mirrors image and polygons top to bottom; y becomes H - y."""
    height = sample.image.shape[0]
    matrix = np.array([[1, 0, 0], [0, -1, height]], dtype=np.float64)
    return replace(
        sample,
        image=np.asarray(cv2.flip(sample.image, 0), dtype=np.uint8),
        polygons=transform_polygons(sample.polygons, matrix),
    )
