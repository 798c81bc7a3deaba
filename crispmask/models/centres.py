"""Where instances are: the centre of mass of their masks.

Letters: N instances, h and w mask pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def mask_centres(masks: Tensor, boxes: Tensor, mask_stride: int) -> Tensor:
    """Centre of mass of each instance.

    MMDetection measures centres in pixel indices, half a pixel less than the continuous
    frame; the grids and assignments of the published models were trained with that frame,
    so it is kept here and nowhere else. A mask without a pixel (an instance smaller than
    the mask grid) is centred in its box.

    Args:
        masks: (N, h, w) bool, on a grid of `mask_stride` input pixels.
        boxes: (N, 4) xyxy, input pixels.
        mask_stride: input pixels per mask pixel.

    Returns:
        (N, 2) float32 xy, input pixels minus one half.
    """
    _, h, w = masks.shape
    rows = masks.sum(2).float()  # (N, h)
    columns = masks.sum(1).float()  # (N, w)
    area = rows.sum(1)  # (N,)
    y = (rows * torch.arange(h, device=masks.device)).sum(1) / area.clamp(min=1e-6)
    x = (columns * torch.arange(w, device=masks.device)).sum(1) / area.clamp(min=1e-6)
    centres = torch.stack([x, y], dim=1)  # (N, 2), pixel indices of the mask
    centres = (centres + 0.5) * mask_stride - 0.5 if mask_stride > 1 else centres
    box_centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    return torch.where((area > 0)[:, None], centres, box_centres)
