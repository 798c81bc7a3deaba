"""RTMDet-Ins: from raw predictions to rows, whole batches at once.

The same instances as `crispmask.models.rtmdet_ins.decode`, in operations whose shapes do not
depend on the image.

Letters: B batch, N rows, n candidates, A priors of a level, K classes, D kernel weights,
h and w size of a feature map.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from crispmask.config import DecodeConfig
from crispmask.export.rows import Rows, best, cut, divide, pick
from crispmask.models.priors import boxes_from_distances, grid_priors
from crispmask.models.rtmdet_ins.config import STRIDES
from crispmask.models.rtmdet_ins.dynamic import MASK_STRIDE, place_kernels, with_positions
from crispmask.models.rtmdet_ins.model import RTMDetInsOutputs

Nms = Callable[[Tensor, Tensor, Tensor, int, float], Tensor]
"""Takes boxes, scores, labels, number of classes, IoU; returns which candidates stay."""

NOTHING = -20.0
"""Mask logit of empty rows."""


def decode_rows(
    outputs: RTMDetInsOutputs, config: DecodeConfig, nms: Nms, fixed_rows: bool
) -> Rows:
    """The instances of a batch.

    Args:
        outputs: raw predictions.
        config: thresholds and limits.
        nms: suppresses what a better box of the class covers.
        fixed_rows: whether N is `max_det` and not the number of instances of the fullest image,
            at least one.
    """
    features = outputs.mask_features
    h, w = features.shape[-2:]
    scores, labels, distances, priors, places = (
        torch.cat(column, dim=1) for column in zip(*_candidates(outputs, config), strict=True)
    )  # (B, n, .)
    x1, y1, x2, y2 = boxes_from_distances(priors, distances).unbind(2)
    x1, x2 = (x.clamp(0, w * MASK_STRIDE) for x in (x1, x2))
    y1, y2 = (y.clamp(0, h * MASK_STRIDE) for y in (y1, y2))
    boxes = torch.stack([x1, y1, x2, y2], dim=2)  # (B, n, 4)
    scores = torch.where((x2 > x1) & (y2 > y1), scores, 0.0)
    kept = nms(boxes, scores, labels, outputs.class_logits[0].shape[1], config.nms_iou)

    scores, order = torch.where(kept, scores, 0.0).topk(config.max_det, dim=1)  # (B, N)
    counts = (scores > 0).sum(1)
    if not fixed_rows:
        scores, order = (cut(x, counts.max(), config.max_det) for x in (scores, order))
    kernels = torch.cat([k.flatten(2) for k in outputs.kernels], dim=2).transpose(1, 2)  # (B, A, D)
    logits = _masks(
        pick(kernels, pick(places, order)), pick(priors, order), features
    )  # (B, N, h, w)
    used = scores > 0
    return Rows(
        counts,
        scores,
        torch.where(used, pick(labels, order), 0),
        torch.where(used[..., None], pick(boxes, order), 0.0),
        torch.where(used[..., None, None], logits, NOTHING),
    )


def _candidates(
    outputs: RTMDetInsOutputs, config: DecodeConfig
) -> list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
    """Of each level the best (prior, class) pairs.

    Returns:
        Scores (B, n), 0 below the threshold, labels (B, n), distances (B, n, 4), priors
        (B, n, 3) and their places among those of all levels (B, n).
    """
    threshold = max(config.candidate_conf, config.conf)
    levels, begin = [], 0
    for logits, distances, stride in zip(
        outputs.class_logits, outputs.distances, STRIDES, strict=True
    ):
        size = (logits.shape[2], logits.shape[3])
        p = logits.float().sigmoid().flatten(1)  # (B, K * A)
        scores, chosen = best(torch.where(p > threshold, p, 0.0), config.pre_nms)
        num_priors = size[0] * size[1]
        labels, places = divide(chosen, num_priors)
        grid = grid_priors([size], (stride,), logits.device)  # (A, 3)
        levels.append(
            (
                scores,
                labels,
                pick(distances.float().flatten(2).transpose(1, 2), places),
                grid[places],
                places + begin,
            )
        )
        begin = begin + num_priors
    return levels


def _masks(kernels: Tensor, priors: Tensor, mask_features: Tensor) -> Tensor:
    """`dynamic_masks` for a batch: kernels (B, N, D) and priors (B, N, 3) to (B, N, h, w)."""
    B, N, D = kernels.shape
    h, w = mask_features.shape[-2:]
    weights, biases = place_kernels(kernels.reshape(-1, D), priors.reshape(-1, 3))
    inputs = with_positions(mask_features).flatten(2)  # (B, 10, h * w)
    z = weights[0].reshape(B, N * 8, -1) @ inputs  # (B, N * 8, h * w)
    z = (z.reshape(B * N, 8, -1) + biases[0][..., None]).relu()
    z = (weights[1] @ z + biases[1][..., None]).relu()  # (B * N, 8, h * w)
    z = weights[2] @ z + biases[2][..., None]  # (B * N, 1, h * w)
    return z.reshape(B, N, h, w)
