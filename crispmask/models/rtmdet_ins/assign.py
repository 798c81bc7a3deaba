"""Dynamic soft label assignment: which prior learns which instance.

Letters: A priors over all levels, N instances of one image, V priors inside a box, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from crispmask.models.priors import box_iou

TOP_K = 13
"""IoUs summed to find how many priors an instance gets."""

CENTRE_RADIUS = 3.0
"""Distance from the centre, in strides, at which the centre cost is 1."""

IOU_WEIGHT = 3.0
"""Weight of the cost of a low IoU."""

CHUNK_PAIRS = 1 << 21
"""Pairs of prior and instance whose cost is computed at a time; 8 MiB for each intermediate."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Targets of the priors of one image.

    Attributes:
        instances: (A,) int64, -1 for background.
        quality: (A,) float32, IoU of a positive prior's box with its instance, else 0.
    """

    instances: Tensor
    quality: Tensor


@torch.no_grad()
def assign(
    class_logits: Tensor,
    boxes: Tensor,
    priors: Tensor,
    target_labels: Tensor,
    target_boxes: Tensor,
    target_centres: Tensor,
) -> Assignment:
    """Gives each instance the priors that predict it at the lowest cost.

    cost = |iou - p|^2 BCE(p, soft label), summed over classes
         + 3 (-log iou)
         + 10^(distance to the centre in strides - 3).
    An instance gets as many priors as the sum of its 13 largest IoUs; a prior wanted twice
    goes to the instance it costs least. Candidates are priors strictly inside any box.
    Source: RTMDet, arXiv:2212.07784, dynamic soft label assignment.

    Args:
        class_logits: (A, K).
        boxes: (A, 4) xyxy, predicted, input pixels.
        priors: (A, 3) x, y, stride.
        target_labels: (N,).
        target_boxes: (N, 4) xyxy.
        target_centres: (N, 2) xy.
    """
    instances = torch.full((len(priors),), -1, dtype=torch.int64, device=priors.device)
    quality = boxes.new_zeros(len(priors))
    inside = _inside_any(priors[:, :2], target_boxes).nonzero().flatten()  # (V,)
    if len(inside) == 0:
        return Assignment(instances, quality)
    iou = boxes.new_empty(len(inside), len(target_boxes))  # (V, N)
    cost = torch.empty_like(iou)  # (V, N)
    step = max(1, CHUNK_PAIRS // len(target_boxes))
    for start in range(0, len(inside), step):
        rows = slice(start, start + step)
        part = inside[rows]
        iou[rows] = box_iou(boxes[part], target_boxes)
        cost[rows] = (
            _class_cost(class_logits[part], iou[rows], target_labels)
            - (iou[rows] + 1e-7).log() * IOU_WEIGHT
            + _centre_cost(priors[part], target_centres)
        )
    chosen = _match(cost, iou)  # (V,), -1 for none
    positive = (chosen >= 0).nonzero().flatten()
    instances[inside[positive]] = chosen[positive]
    quality[inside[positive]] = iou[positive, chosen[positive]]
    return Assignment(instances, quality)


def _inside_any(xy: Tensor, boxes: Tensor) -> Tensor:
    """Whether each point (A, 2) lies strictly inside one of the boxes (N, 4): (A,) bool."""
    x, y = xy[:, :1], xy[:, 1:]  # (A, 1)
    inside = (x > boxes[:, 0]) & (x < boxes[:, 2]) & (y > boxes[:, 1]) & (y < boxes[:, 3])
    return inside.any(1)


def _class_cost(logits: Tensor, iou: Tensor, labels: Tensor) -> Tensor:
    """Quality focal cost (V, N) of logits (V, K) against each instance with its IoU.

    Of all classes only the instance's own differs from the cost of "nothing here", so the
    (V, N, K) table is never built.
    """
    nothing = F.softplus(logits) * logits.sigmoid().square()  # (V, K), BCE with 0
    own = logits[:, labels]  # (V, N)
    right = F.binary_cross_entropy_with_logits(own, iou, reduction="none")
    right = right * (iou - own.sigmoid()).square()
    return nothing.sum(1, keepdim=True) - nothing[:, labels] + right


def _centre_cost(priors: Tensor, centres: Tensor) -> Tensor:
    """Cost (V, N) of the distance between priors (V, 3) and centres (N, 2)."""
    distance = (priors[:, None, :2] - centres).square().sum(2).sqrt() / priors[:, 2:]
    return 10 ** (distance - CENTRE_RADIUS)


def _match(cost: Tensor, iou: Tensor) -> Tensor:
    """The instance each prior learns (V,), -1 for none, from cost and IoU (V, N)."""
    k = min(TOP_K, len(cost))
    wanted = iou.topk(k, dim=0).values.sum(0).int().clamp(min=1, max=k)  # (N,)
    best = cost.topk(k, dim=0, largest=False).indices  # (k, N)
    taken = torch.arange(k, device=cost.device)[:, None] < wanted  # (k, N)
    matched = torch.zeros_like(cost, dtype=torch.bool).scatter_(0, best, taken)  # (V, N)
    claims = matched.sum(1)  # (V,)
    only = matched.byte().argmax(1)
    cheapest = cost.argmin(1)
    chosen = torch.where(claims > 1, cheapest, only)
    return torch.where(claims > 0, chosen, chosen.new_full((), -1))
