"""Where instances are: area and centre of mass of their masks.

Letters: N instances, h and w mask pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crispmask.models.mask_targets import Masks

CHUNK_PIXELS = 1 << 20
"""Pixels counted at a time; torch makes an int64 of each, 8 MiB."""


def measure_masks(masks: Masks, boxes: Tensor, mask_stride: int) -> tuple[Tensor, Tensor]:
    """Area and centre of mass of each instance.

    MMDetection measures centres in pixel indices, half a pixel less than the continuous
    frame; the grids and assignments of the published models were trained with that frame,
    so it is kept here and nowhere else. A mask without a pixel (an instance smaller than
    the mask grid) is centred in its box.

    Args:
        masks: (N, h, w), on a grid of `mask_stride` input pixels.
        boxes: (N, 4) xyxy, input pixels.
        mask_stride: input pixels per mask pixel.

    Returns:
        Areas (N,) float32, mask pixels; centres (N, 2) float32 xy, input pixels minus one half.
    """
    _, h, w = masks.shape
    rows, columns = _profiles(masks)
    area = rows.sum(1)  # (N,)
    y = (rows * torch.arange(h, device=masks.device)).sum(1) / area.clamp(min=1e-6)
    x = (columns * torch.arange(w, device=masks.device)).sum(1) / area.clamp(min=1e-6)
    centres = torch.stack([x, y], dim=1)  # (N, 2), pixel indices of the mask
    centres = (centres + 0.5) * mask_stride - 0.5 if mask_stride > 1 else centres
    box_centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    return area, torch.where((area > 0)[:, None], centres, box_centres)


def _profiles(masks: Masks) -> tuple[Tensor, Tensor]:
    """Pixels of each row (N, h) and of each column (N, w), float32; a few masks at a time."""
    num, h, w = masks.shape
    step = max(1, CHUNK_PIXELS // max(1, h * w))
    # Made before: small blocks that stay, between large ones that go, would fragment the heap.
    rows = torch.empty(num, h, device=masks.device)
    columns = torch.empty(num, w, device=masks.device)
    for start in range(0, num, step):
        part = slice(start, start + step)
        chunk = masks[part]
        rows[part] = chunk.sum(2)
        columns[part] = chunk.sum(1)
    return rows, columns
