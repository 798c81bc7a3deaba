"""The boundary of a mask: what boundary IoU compares."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import MaskRuns, spans_of

DILATION = 0.02
"""Width of the boundary as a fraction of the diagonal of the image."""


def boundaries(masks: MaskRuns) -> MaskRuns:
    """The pixels of each mask at most 2 % of the image diagonal, but one pixel, from its outside.

    Distances are counted in steps to any of the 8 neighbours; beyond the image is outside.
    Source: Boundary IoU, arXiv:2103.16562, and the reference code bowenc0221/boundary-iou-api.
    Only the part of the image around a mask is looked at.
    """
    height, width = masks.size
    distance = max(1, round(DILATION * float(np.hypot(height, width))))
    return MaskRuns(tuple(_spans(masks, i, distance) for i in range(len(masks))), masks.size)


def _spans(masks: MaskRuns, i: int, distance: int) -> NDArray[np.int64]:
    box = masks.extent(i)
    if box is None:
        return masks.spans[i]
    x1, y1, x2, y2 = box
    padded = np.zeros((y2 - y1 + 2, x2 - x1 + 2), dtype=np.uint8)
    padded[1:-1, 1:-1] = masks.crop(i, box)
    steps = cv2.distanceTransform(padded, cv2.DIST_C, 3)  # 0 outside
    near = (steps > 0) & (steps <= distance)
    return spans_of(near[1:-1, 1:-1], masks.size, (x1, y1))
