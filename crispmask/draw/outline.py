"""Thin smooth lines along the borders of masks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_FRACTION_BITS = 4
"""OpenCV takes line ends in sixteenths of a pixel."""


def outline_coverage(mask: NDArray[np.bool_], thickness: int) -> NDArray[np.uint8]:
    """How much of each pixel the outline of a mask covers, holes included.

    Args:
        mask: (H, W).
        thickness: of the line, pixels.

    Returns:
        (H, W), 0 to 255.
    """
    coverage = np.zeros(mask.shape, dtype=np.uint8)
    rings, _ = cv2.findContours(
        np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    lines = [
        np.round(_smooth(ring[:, 0].astype(np.float64)) * 2**_FRACTION_BITS).astype(np.int32)
        for ring in rings
    ]
    if lines:
        cv2.polylines(coverage, lines, True, 255, thickness, cv2.LINE_AA, _FRACTION_BITS)
    return coverage


def _smooth(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of a closed ring (V, 2) averaged with their neighbours: no pixel staircase."""
    if len(ring) < 12:  # a few pixels: nothing to smooth, but much to lose
        return ring
    total = ring.copy()
    for shift in (-2, -1, 1, 2):
        total += np.roll(ring, shift, axis=0)
    return total / 5
