"""Losses of both architectures, always computed in float32.

Letters: M positives, A priors, K classes, h and w mask pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from crispmask.models.allocator import return_free_pages, return_large_blocks

CHUNK_PIXELS = 1 << 23
"""Mask pixels a loss works on at a time; 32 MiB for each intermediate in float32."""


def dice_loss(mask_logits: Tensor, masks: Tensor, eps: float) -> Tensor:
    """One minus the Dice coefficient of each mask.

    D(p, q) = 2 sum(p q) / (sum(p^2) + eps + sum(q^2) + eps), sums over pixels.
    Source: SOLO, arXiv:1912.04488, the mask loss; eps as in MMDetection's DiceLoss.

    Args:
        mask_logits: (M, h, w), before the sigmoid.
        masks: (M, h, w), bool, on the same grid.
        eps: keeps the coefficient of two empty masks finite.

    Returns:
        (M,) float32 in [0, 1]. M = 0 gives an empty tensor; the caller normalises.
    """
    p = mask_logits.float().flatten(1).sigmoid()  # (M, h * w)
    q = masks.flatten(1).to(p.dtype)  # (M, h * w)
    overlap = (p * q).sum(1)  # (M,)
    total = p.square().sum(1) + q.sum(1) + 2 * eps  # (M,), q is 0 or 1: its own square
    return 1 - 2 * overlap / total


def sigmoid_focal_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Sum over all elements of alpha_t (1 - p_t)^gamma (-log p_t).

    Source: Focal Loss, arXiv:1708.02002, the alpha-balanced form.

    Args:
        logits: any shape.
        targets: 0 or 1, of the same shape.
        gamma: focusing exponent.
        alpha: weight of the ones.
        class_weights: (K,) factors along the last axis; None: all 1.

    Returns:
        A scalar, float32.
    """
    logits, targets = logits.float(), targets.float()
    p = logits.sigmoid()
    wrong = p + targets - 2 * p * targets  # 1 - p_t
    weight = 1 - alpha + (2 * alpha - 1) * targets  # alpha_t
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    loss = weight * wrong.pow(gamma) * cross_entropy
    return (loss if class_weights is None else loss * class_weights).sum()


def quality_focal_loss(logits: Tensor, targets: Tensor, beta: float = 2.0) -> Tensor:
    """Focal loss towards a soft target: |y - p|^beta times the binary cross entropy.

    Source: Generalized Focal Loss, arXiv:2006.04388, Quality Focal Loss.

    Args:
        logits: any shape.
        targets: soft labels y in [0, 1], of the same shape.
        beta: focusing exponent.

    Returns:
        The elementwise loss, float32.
    """
    logits, targets = logits.float(), targets.float()
    scale = (targets - logits.sigmoid()).abs().pow(beta)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * scale


def giou_loss(boxes: Tensor, target_boxes: Tensor, eps: float = 1e-6) -> Tensor:
    """One minus the generalised IoU of each pair of boxes.

    Source: arXiv:1902.09630, the definition of GIoU.

    Args:
        boxes: (M, 4) xyxy.
        target_boxes: (M, 4) xyxy, same frame.
        eps: smallest area divided by.

    Returns:
        (M,) float32 in [0, 2].
    """
    a, b = boxes.float(), target_boxes.float()
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    around = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).clamp(min=0)
    overlap, hull = shared.prod(1), around.prod(1).clamp(min=eps)
    union = (area_a + area_b - overlap).clamp(min=eps)
    return 1 - overlap / union + (hull - union) / hull


def sum_in_chunks(
    loss: Callable[[Tensor], Tensor], num: int, pixels: int, device: torch.device
) -> Tensor:
    """The sum of a loss over many masks, in memory that does not grow with their number.

    Few masks are one chunk. More are taken a chunk at a time and computed once more for
    their gradients (arXiv:1604.06174); value and gradients stay the same up to rounding.

    Args:
        loss: maps indices (n,) of masks to their losses (n,).
        num: number of masks.
        pixels: of the largest intermediate of one mask.
        device: where the indices live.
    """
    chunks = torch.arange(num, device=device).split(max(1, CHUNK_PIXELS // pixels))
    if len(chunks) == 1:
        return loss(chunks[0]).sum()
    return_large_blocks()

    def chunk_sum(index: Tensor) -> Tensor:
        if device.type == "cpu":
            return_free_pages()
        return loss(index).sum()

    # Nothing in a loss is random: there is no state of a generator to restore.
    sums = [
        checkpoint(chunk_sum, chunk, use_reentrant=False, preserve_rng_state=False)
        for chunk in chunks
    ]
    return torch.stack(sums).sum()
