"""From the outputs of SOLOv2 to instances.

Letters: N candidates or instances of one image, S cells per side, K classes, D kernel
weights, h and w size of the mask features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crispmask.config import DecodeConfig
from crispmask.models.allocator import return_large_blocks
from crispmask.models.detections import CHUNK_PIXELS, Detections, pixels_at_a_time
from crispmask.models.solov2.config import STRIDES

MASK_STRIDE = 4
"""Input pixels per pixel of the mask features."""

_ROWS = 128
"""Masks whose overlaps with others are counted at a time."""


def decode_image(
    class_logits: list[Tensor], kernels: list[Tensor], mask_features: Tensor, config: DecodeConfig
) -> Detections:
    """The instances of one image.

    Source: SOLOv2, arXiv:2003.10152, inference and matrix NMS.

    Args:
        class_logits: (K, S, S) of each level.
        kernels: (D, S, S) of each level.
        mask_features: (D, h, w).
        config: thresholds and limits.
    """
    scores, labels, weights, strides = _candidates(class_logits, kernels, config)
    areas, quality = _measure(weights, mask_features, config.mask_threshold)
    scores = scores * quality
    # Smaller ones are noise of their level; of the others those go that would not be returned.
    visible = (areas > strides) & (scores >= config.conf)
    scores = scores.masked_fill(~visible, -1)
    order = scores.argsort(descending=True, stable=True)
    order = order[: min(int(visible.sum()), config.pre_nms)]
    scores, labels, weights = scores[order], labels[order], weights[order]

    inside = _inside(weights, mask_features, config.mask_threshold)  # (N, h * w)
    scores = scores * matrix_nms(inside, areas[order], labels, config.sigma)
    keep = scores >= config.conf
    order = scores.masked_fill(~keep, -1).argsort(descending=True, stable=True)
    order = order[: min(int(keep.sum()), config.max_det)]
    return Detections(
        scores=scores[order],
        labels=labels[order],
        boxes=None,
        soft_masks=_masks(weights[order], mask_features),
        threshold=config.mask_threshold,
        mask_stride=MASK_STRIDE,
    )


def _candidates(
    class_logits: list[Tensor], kernels: list[Tensor], config: DecodeConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores (N,), labels (N,), kernels (N, D) and level strides (N,) above the thresholds.

    At most `pre_masks`: drawing masks takes most of the time, and a model that has not learnt
    much yet believes a little in thousands of cells.

    Scores only fall from here on, and only by better instances: what is below `conf` now
    changes nothing.
    """
    found = []
    for logits, kernel, stride in zip(class_logits, kernels, STRIDES, strict=True):
        p = point_nms(logits.float().sigmoid())  # (K, S, S)
        p = p.permute(1, 2, 0).flatten(0, 1)  # (S * S, K), row-major cells
        chosen = (p > config.candidate_conf) & (p >= config.conf)
        cells, labels = chosen.nonzero().unbind(1)
        weights = kernel.flatten(1)[:, cells].T  # (n, D)
        found.append((p[cells, labels], labels, weights, torch.full_like(cells, stride)))
    scores, labels, weights, strides = (torch.cat(column) for column in zip(*found, strict=True))
    if config.pre_masks is not None and len(scores) > config.pre_masks:
        best = scores.topk(config.pre_masks).indices
        scores, labels, weights, strides = (x[best] for x in (scores, labels, weights, strides))
    return scores, labels, weights.float(), strides


def point_nms(probabilities: Tensor) -> Tensor:
    """Zeroes what is smaller than its left, upper or upper left neighbour.

    Args:
        probabilities: (K, S, S).
    """
    largest = F.max_pool2d(probabilities, kernel_size=2, stride=1, padding=1)[:, :-1, :-1]
    return probabilities * (largest == probabilities)


def _masks(weights: Tensor, mask_features: Tensor) -> Tensor:
    """Mask probabilities (N, h, w) of kernels (N, D) on features (D, h, w)."""
    return torch.einsum("nd,dhw->nhw", weights, mask_features.float()).sigmoid_()


def _measure(weights: Tensor, mask_features: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Area (N,) in pixels of the features and mean probability inside (N,) of each mask.

    A few candidates at a time: an untrained model has thousands.
    """
    return_large_blocks()
    h, w = mask_features.shape[1:]
    measured = []
    for chunk in weights.split(max(1, pixels_at_a_time(weights.device) // (h * w))):
        p = _masks(chunk, mask_features).flatten(1)  # (n, h * w)
        inside = p > threshold
        area = inside.sum(1).float()
        measured.append((area, (p * inside).sum(1) / area.clamp(min=1)))
    areas, quality = (torch.cat(column) for column in zip(*measured, strict=True))
    return areas, quality


def _inside(weights: Tensor, mask_features: Tensor, threshold: float) -> Tensor:
    """The pixels (N, h * w), bool, of the masks of kernels (N, D); a few at a time."""
    h, w = mask_features.shape[1:]
    chunks = weights.split(max(1, pixels_at_a_time(weights.device) // (h * w)))
    return torch.cat([(_masks(c, mask_features) > threshold).flatten(1) for c in chunks])


def matrix_nms(masks: Tensor, areas: Tensor, labels: Tensor, sigma: float) -> Tensor:
    """The factor each score decays by: small where a better instance covers the same pixels.

    decay_j = min over i < j of f(iou_ij) / f(max over k < i of iou_ki), f(x) = exp(-sigma x^2),
    over instances of one class.
    Source: SOLOv2, arXiv:2003.10152, Matrix NMS with the Gaussian decay.

    Args:
        masks: (N, h * w) bool, best score first.
        areas: (N,) pixels of each mask.
        labels: (N,).
        sigma: sharpness of the decay.

    Returns:
        (N,) in [0, 1].
    """
    if len(masks) == 0:
        return areas.new_zeros(0)
    if masks.is_cuda:  # few large steps
        return _decay(masks, areas, labels, sigma)
    decay = torch.ones_like(areas)
    for label in labels.unique():  # fewer pairs
        mine = (labels == label).nonzero().flatten()
        decay[mine] = _decay(masks[mine], areas[mine], labels[mine], sigma)
    return decay


def _decay(masks: Tensor, areas: Tensor, labels: Tensor, sigma: float) -> Tensor:
    """`matrix_nms` of at least one mask."""
    overlap = areas.new_zeros(len(masks), len(masks))  # (N, N), counts are exact in float32
    for part in masks.split(max(1, CHUNK_PIXELS // len(masks)), dim=1):
        pixels = part.float()
        for i in range(0, len(masks), _ROWS):  # only with worse ones: half of all pairs
            overlap[i : i + _ROWS, i:] += pixels[i : i + _ROWS] @ pixels[i:].T
    iou = overlap / (areas[:, None] + areas[None] - overlap)
    iou = (iou * (labels[:, None] == labels[None])).triu(diagonal=1)  # (N, N), row i decays j
    covered = iou.max(dim=0).values  # (N,), how much each one is itself covered
    decay = torch.exp(-sigma * iou.square()) / torch.exp(-sigma * covered.square())[:, None]
    return decay.min(dim=0).values
