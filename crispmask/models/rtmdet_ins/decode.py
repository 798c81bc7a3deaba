"""From the outputs of RTMDet-Ins to instances.

Letters: N candidates or instances of one image, A priors of a level, K classes, D kernel
weights, h and w size of a feature map.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from crispmask.config import DecodeConfig
from crispmask.models.detections import Detections, pixels_at_a_time
from crispmask.models.priors import boxes_from_distances, grid_priors
from crispmask.models.rtmdet_ins.config import STRIDES
from crispmask.models.rtmdet_ins.dynamic import MASK_STRIDE, dynamic_masks
from crispmask.types import Size


def decode_image(
    class_logits: list[Tensor],
    distances: list[Tensor],
    kernels: list[Tensor],
    mask_features: Tensor,
    config: DecodeConfig,
) -> Detections:
    """The instances of one image.

    Args:
        class_logits: (K, h, w) of each level.
        distances: (4, h, w) of each level, ltrb, input pixels.
        kernels: (D, h, w) of each level.
        mask_features: (8, h, w) at stride 8.
        config: thresholds and limits.
    """
    h, w = mask_features.shape[1:]
    input_size = (h * MASK_STRIDE, w * MASK_STRIDE)
    levels = [
        _candidates(c, d, k, stride, input_size, config)
        for c, d, k, stride in zip(class_logits, distances, kernels, STRIDES, strict=True)
    ]
    scores, labels, boxes, weights, priors = (
        torch.cat(column) for column in zip(*levels, strict=True)
    )
    keep = batched_nms(boxes, scores, labels, config.nms_iou)[: config.max_det]
    # The first layers have 8 channels, too.
    few = max(1, pixels_at_a_time(mask_features.device) // mask_features.numel())
    logits = torch.cat(
        [dynamic_masks(weights[k], priors[k], mask_features) for k in keep.split(few)]
    )  # (N, h, w)
    return Detections(
        scores=scores[keep],
        labels=labels[keep],
        boxes=boxes[keep],
        soft_masks=logits,
        threshold=torch.logit(torch.tensor(config.mask_threshold)).item(),
        mask_stride=MASK_STRIDE,
    )


def _candidates(
    class_logits: Tensor,
    distances: Tensor,
    kernels: Tensor,
    stride: int,
    input_size: Size,
    config: DecodeConfig,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Scores (N,), labels (N,), boxes (N, 4), kernels (N, D) and priors (N, 3) of a level."""
    size = (class_logits.shape[1], class_logits.shape[2])
    p = class_logits.float().sigmoid().flatten(1).T  # (A, K)
    threshold = max(config.candidate_conf, config.conf)
    chosen, labels = (p > threshold).nonzero().unbind(1)  # (prior, class) pairs
    scores, order = p[chosen, labels].sort(descending=True, stable=True)
    order = order[: config.pre_nms]
    scores, chosen, labels = scores[: config.pre_nms], chosen[order], labels[order]

    priors = grid_priors([size], (stride,), class_logits.device)[chosen]
    boxes = boxes_from_distances(priors, distances.float().flatten(1)[:, chosen].T)
    height, width = input_size
    boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))
    filled = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1).nonzero().flatten()
    weights = kernels.flatten(1)[:, chosen].T
    return scores[filled], labels[filled], boxes[filled], weights[filled], priors[filled]
