"""The objective of SOLOv2.

Letters: B batch, M positive entries of an image, D kernel weights, K classes, h and w size
of the mask features, H' and W' size of the masks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crispmask.models.counts import divisor
from crispmask.models.layers import resize
from crispmask.models.losses import (
    dice_loss,
    sigmoid_focal_loss,
    sum_in_chunks,
)
from crispmask.models.mask_targets import Masks
from crispmask.models.solov2.targets import GridTargets

CLASS_WEIGHT = 1.0
MASK_WEIGHT = 3.0
DICE_EPS = 1e-3


def class_loss(
    class_logits: tuple[Tensor, ...],
    targets: list[list[GridTargets]],
    class_weights: Tensor | None = None,
) -> Tensor:
    """Focal loss over all cells, divided by the number of positive cells plus one.

    Source: SOLO, arXiv:1912.04488, the training objective.

    Args:
        class_logits: (B, K, S, S) of each level.
        targets: of each image, for each level.
        class_weights: (K,) what each class counts; None: all the same.
    """
    K = class_logits[0].shape[1]
    logits = torch.cat(
        [level.permute(0, 2, 3, 1).reshape(-1, K) for level in class_logits]
    )  # (cells, K), level by level, image by image
    labels = torch.cat([t.labels for level in zip(*targets, strict=True) for t in level])
    wanted = F.one_hot(labels, K + 1)[:, :K]  # (cells, K), zeros for background
    num_positive = (labels < K).sum().float()
    loss = sigmoid_focal_loss(logits, wanted, class_weights=class_weights)
    return CLASS_WEIGHT * loss / divisor(num_positive, extra=1)


def mask_loss(
    kernels: tuple[Tensor, ...],
    mask_features: Tensor,
    masks: list[Masks],
    targets: list[list[GridTargets]],
) -> Tensor:
    """Dice loss of the mask of every positive entry, divided by the number of positive cells.

    Source: SOLO, arXiv:1912.04488, the mask loss; a cell two instances claim learns both
    masks and counts once, as in MMDetection's SOLOV2Head.

    Args:
        kernels: (B, D, S, S) of each level.
        mask_features: (B, D, h, w).
        masks: (N, H', W') bool of each image; predictions are compared on their grid.
        targets: of each image, for each level.
    """
    total = mask_features.sum() * 0 + torch.stack([level.sum() * 0 for level in kernels]).sum()
    for i, levels in enumerate(targets):
        weights = torch.cat(
            [kernels[level][i].flatten(1)[:, t.cells] for level, t in enumerate(levels)], dim=1
        )  # (D, M)
        instances = torch.cat([t.instances for t in levels])  # (M,)
        if len(instances):
            total = total + _dice(weights, mask_features[i], masks[i], instances)
    num_positive = torch.stack(
        [
            mask_features.new_zeros(t.labels.shape).index_fill(0, t.cells, 1).sum()
            for levels in targets
            for t in levels
        ]
    ).sum()
    return MASK_WEIGHT * total / divisor(num_positive)


def _dice(weights: Tensor, features: Tensor, masks: Masks, instances: Tensor) -> Tensor:
    """Summed dice loss of the masks of kernels (D, M) on features (D, h, w)."""

    def loss(index: Tensor) -> Tensor:
        logits = torch.einsum("dm,dhw->mhw", weights[:, index], features)
        logits = resize(logits[None], (h, w))[0]  # (m, H', W')
        return dice_loss(logits, masks[instances[index]], DICE_EPS)

    h, w = masks.shape[1:]
    return sum_in_chunks(loss, len(instances), max(h * w, features[0].numel()), masks.device)
