"""Boxes around masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def masks_to_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The boxes (N, 4) around bool masks (N, H, W); zeros where a mask is empty."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        columns, rows = np.flatnonzero(np.any(mask, axis=0)), np.flatnonzero(np.any(mask, axis=1))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
