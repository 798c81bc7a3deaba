"""Boxes around masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import MaskRuns, mask_extent


def masks_to_boxes(masks: NDArray[np.bool_] | MaskRuns) -> NDArray[np.float32]:
    """The boxes (N, 4) around N masks; zeros where a mask is empty."""
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for i, box in enumerate(boxes):
        box[:] = mask_extent(masks, i) or 0
    return boxes
