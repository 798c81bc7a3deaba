"""Grid points predictions are made from.

Letters: A priors over all levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crispmask.types import Size


def grid_priors(sizes: list[Size], strides: tuple[int, ...], device: torch.device) -> Tensor:
    """The upper left corner of every step of every level, level by level, row by row.

    Args:
        sizes: (height, width) of each level's map.
        strides: input pixels per step of each level.
        device: where the result lives.

    Returns:
        (A, 3) float32: x, y and stride, input pixels.
    """
    levels = []
    for (h, w), stride in zip(sizes, strides, strict=True):
        y = torch.arange(h, device=device, dtype=torch.float32) * stride
        x = torch.arange(w, device=device, dtype=torch.float32) * stride
        grid = torch.stack(
            [x.expand(h, w), y[:, None].expand(h, w), torch.full_like(x, stride).expand(h, w)],
            dim=-1,
        )  # (h, w, 3)
        levels.append(grid.reshape(-1, 3))
    return torch.cat(levels)


def boxes_from_distances(priors: Tensor, distances: Tensor) -> Tensor:
    """Boxes (..., A, 4) xyxy around priors (..., A, 3) from distances (..., A, 4) ltrb, pixels."""
    xy = priors[..., :2]
    return torch.cat([xy - distances[..., :2], xy + distances[..., 2:]], dim=-1)


def box_iou(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """IoU of every pair of boxes: (N, 4) and (M, 4) xyxy to (N, M); 0 for empty unions."""
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    # One axis after the other: a (N, M, 2) table would take twice the memory.
    width = torch.minimum(a[:, None, 2], b[:, 2]) - torch.maximum(a[:, None, 0], b[:, 0])
    height = torch.minimum(a[:, None, 3], b[:, 3]) - torch.maximum(a[:, None, 1], b[:, 1])
    overlap = width.clamp_(min=0) * height.clamp_(min=0)  # (N, M)
    return overlap / (area_a[:, None] + area_b - overlap).clamp(min=eps)
