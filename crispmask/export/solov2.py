"""SOLOv2: from raw predictions to rows, whole batches at once.

The same instances as `crispmask.models.solov2.decode`, in operations whose shapes do not depend
on the image, except for the number of candidates.

Letters: B batch, N rows, n candidates, S cells per side, K classes, D kernel weights, h and w
size of the mask features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crispmask.config import DecodeConfig
from crispmask.export.rows import Rows, best, cut, divide, pick, pick_whole
from crispmask.models.solov2.config import STRIDES
from crispmask.models.solov2.decode import point_nms
from crispmask.models.solov2.model import Solov2Outputs


def decode_rows(outputs: Solov2Outputs, config: DecodeConfig, fixed_rows: bool) -> Rows:
    """The instances of a batch.

    Args:
        outputs: raw predictions.
        config: thresholds and limits.
        fixed_rows: whether N is `max_det` and not the number of instances of the fullest image,
            at least one.
    """
    features = outputs.mask_features.float()  # (B, D, h, w)
    scores, labels, kernels, strides = _candidates(outputs, config, fixed_rows)
    h, w = features.shape[-2:]
    soft = (kernels @ features.flatten(2)).sigmoid()  # (B, n, h * w)
    inside = (soft > config.mask_threshold).float()
    areas = inside.sum(2)  # (B, n)
    quality = (soft * inside).sum(2) / areas.clamp(min=1)
    visible = (areas > strides) & (scores > 0) & (scores * quality >= config.conf)
    scores = torch.where(visible, scores * quality, 0.0)

    scores, order = best(scores, config.pre_nms)
    if not fixed_rows:  # few are left, and what follows grows with the square of their number
        num = (scores > 0).sum(1).max()
        scores, order = (cut(x, num, config.pre_nms) for x in (scores, order))
    areas, labels, inside = pick(areas, order), pick(labels, order), pick_whole(inside, order)
    overlap = inside @ inside.transpose(1, 2)  # (B, n, n)
    scores = scores * matrix_nms(overlap, areas, labels, config.sigma)

    scores = torch.where(scores >= config.conf, scores, 0.0)
    scores, chosen = best(scores, config.max_det)
    counts = (scores > 0).sum(1)
    if not fixed_rows:
        scores, chosen = (cut(x, counts.max(), config.max_det) for x in (scores, chosen))
    used = scores > 0
    soft = pick_whole(soft, pick(order, chosen)).unflatten(2, (h, w))  # (B, N, h, w)
    return Rows(
        counts,
        scores,
        torch.where(used, pick(labels, chosen), 0),
        None,
        torch.where(used[..., None, None], soft, 0.0),
    )


def _candidates(
    outputs: Solov2Outputs, config: DecodeConfig, fixed: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The best (cell, class) pairs of all levels.

    Returns:
        Scores (B, n), 0 below the threshold, labels (B, n), kernels (B, n, D) and level
        strides (B, n).
    """
    probabilities, strides = [], []
    for logits, stride in zip(outputs.class_logits, STRIDES, strict=True):
        p = point_nms(logits.float().sigmoid().flatten(0, 1))  # (B * K, S, S)
        probabilities.append(p.reshape(*logits.shape[:2], -1))
        strides.append(torch.full_like(p[0].flatten(), stride))
    p = torch.cat(probabilities, dim=2)  # (B, K, A), A cells of all levels
    num_cells = p.shape[2]
    p = p.flatten(1)  # (B, K * A)
    most = min(config.pre_masks or p.shape[1], p.shape[1])
    p = torch.where((p > config.candidate_conf) & (p >= config.conf), p, 0.0)
    scores, chosen = p.topk(most, dim=1)
    if not fixed:
        num = (scores > 0).sum(1).max()
        scores, chosen = cut(scores, num, most), cut(chosen, num, most)
    labels, cells = divide(chosen, num_cells)
    kernels = torch.cat([k.flatten(2) for k in outputs.kernels], dim=2).transpose(1, 2)  # (B, A, D)
    return scores, labels, pick(kernels, cells).float(), torch.cat(strides)[cells]


def matrix_nms(overlap: Tensor, areas: Tensor, labels: Tensor, sigma: float) -> Tensor:
    """`crispmask.models.solov2.decode.matrix_nms` for a batch, from overlaps.

    Args:
        overlap: (B, n, n) pixels two masks share, best score first.
        areas: (B, n) pixels of each mask.
        labels: (B, n).
        sigma: sharpness of the decay.

    Returns:
        (B, n) in [0, 1].
    """
    union = areas[:, :, None] + areas[:, None] - overlap
    before = torch.ones_like(overlap[0]).triu(1)  # (n, n), i before j
    same = (labels[:, :, None] == labels[:, None]) * before
    iou = overlap / union.clamp(min=1) * same  # (B, n, n), row i decays j
    covered = iou.amax(1)  # (B, n), how much each one is itself covered
    decay = torch.exp(-sigma * iou.square()) / torch.exp(-sigma * covered.square())[:, :, None]
    return decay.amin(1)
