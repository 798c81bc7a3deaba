"""The objective of RTMDet-Ins.

Letters: B batch, A priors over all levels, M positives, K classes, D kernel weights, h and w
size of the mask features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crispmask.models.counts import divisor
from crispmask.models.layers import resize
from crispmask.models.losses import (
    dice_loss,
    giou_loss,
    quality_focal_loss,
    sum_in_chunks,
)
from crispmask.models.mask_targets import Masks
from crispmask.models.rtmdet_ins.assign import Assignment
from crispmask.models.rtmdet_ins.dynamic import dynamic_masks

CLASS_WEIGHT = 1.0
BOX_WEIGHT = 2.0
MASK_WEIGHT = 2.0
DICE_EPS = 5e-6


def class_loss(
    class_logits: Tensor,
    labels: list[Tensor],
    assignments: list[Assignment],
    valid: Tensor,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Quality focal loss over all valid priors, divided by the summed quality of positives.

    Args:
        class_logits: (B, A, K).
        labels: (N,) of each image.
        assignments: of each image.
        valid: (B, A) bool, priors on the image and not on its padding.
        class_weights: (K,) what each class counts; None: all the same.
    """
    targets = torch.zeros_like(class_logits)
    for wanted, image_labels, assignment in zip(targets, labels, assignments, strict=True):
        positive = (assignment.instances >= 0).nonzero().flatten()
        own = image_labels[assignment.instances[positive]]
        wanted[positive, own] = assignment.quality[positive]
    loss = quality_focal_loss(class_logits, targets) * valid[..., None]
    if class_weights is not None:
        loss = loss * class_weights
    return CLASS_WEIGHT * loss.sum() / _quality_divisor(assignments)


def box_loss(boxes: Tensor, target_boxes: list[Tensor], assignments: list[Assignment]) -> Tensor:
    """Generalised IoU loss of the positives, weighted and divided by their quality.

    Args:
        boxes: (B, A, 4) xyxy, predicted, input pixels.
        target_boxes: (N, 4) of each image.
        assignments: of each image.
    """
    total = boxes.sum() * 0
    for predicted, wanted, assignment in zip(boxes, target_boxes, assignments, strict=True):
        positive = (assignment.instances >= 0).nonzero().flatten()
        loss = giou_loss(predicted[positive], wanted[assignment.instances[positive]])
        total = total + (loss * assignment.quality[positive]).sum()
    return BOX_WEIGHT * total / _quality_divisor(assignments)


def mask_loss(
    kernels: Tensor,
    mask_features: Tensor,
    priors: Tensor,
    masks: list[Masks],
    assignments: list[Assignment],
) -> Tensor:
    """Dice loss of the mask of every positive, averaged over the batch.

    Args:
        kernels: (B, A, D).
        mask_features: (B, 8, h, w).
        priors: (A, 3) x, y, stride.
        masks: (N, H', W') bool of each image; predictions are compared on their grid.
        assignments: of each image.
    """
    total = kernels.sum() * 0 + mask_features.sum() * 0
    num_positive = 0
    for i, assignment in enumerate(assignments):
        positive = (assignment.instances >= 0).nonzero().flatten()  # (M,)
        if len(positive) == 0:
            continue
        total = total + _dice(
            kernels[i, positive],
            priors[positive],
            mask_features[i],
            masks[i],
            assignment.instances[positive],
        )
        num_positive += len(positive)
    return MASK_WEIGHT * total / divisor(mask_features.new_tensor(float(num_positive)))


def _dice(
    kernels: Tensor, priors: Tensor, features: Tensor, masks: Masks, instances: Tensor
) -> Tensor:
    """Summed dice loss of the masks of kernels (M, D) on features (8, h, w)."""

    def loss(index: Tensor) -> Tensor:
        logits = dynamic_masks(kernels[index], priors[index], features)
        logits = resize(logits[None], (h, w))[0]  # (m, H', W')
        return dice_loss(logits, masks[instances[index]], DICE_EPS)

    h, w = masks.shape[1:]
    return sum_in_chunks(loss, len(instances), max(h * w, features.numel()), masks.device)


def _quality_divisor(assignments: list[Assignment]) -> Tensor:
    return divisor(torch.stack([a.quality.sum() for a in assignments]).sum())
