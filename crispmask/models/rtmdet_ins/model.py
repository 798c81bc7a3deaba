"""The RTMDet-Ins network.

Letters: B batch, A priors over all levels, K classes, D kernel weights, h and w size of a
feature map.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from crispmask.config import DecodeConfig
from crispmask.models.backbone import Backbone
from crispmask.models.centres import measure_masks
from crispmask.models.detections import Detections
from crispmask.models.interface import Network
from crispmask.models.mask_targets import masks_subsampled
from crispmask.models.necks import PAFPN
from crispmask.models.priors import boxes_from_distances, grid_priors
from crispmask.models.rtmdet_ins.assign import Assignment, assign
from crispmask.models.rtmdet_ins.config import PRESETS, STRIDES, RTMDetInsConfig
from crispmask.models.rtmdet_ins.decode import decode_image
from crispmask.models.rtmdet_ins.head import Head, MaskFeatures
from crispmask.models.rtmdet_ins.loss import box_loss, class_loss, mask_loss
from crispmask.types import Targets


class RTMDetInsOutputs(NamedTuple):
    """Raw predictions of a batch, one map per level.

    Attributes:
        class_logits: (B, K, h, w) of each level.
        distances: (B, 4, h, w) of each level, ltrb, input pixels.
        kernels: (B, D, h, w) of each level.
        mask_features: (B, 8, h, w) at stride 8.
    """

    class_logits: tuple[Tensor, ...]
    distances: tuple[Tensor, ...]
    kernels: tuple[Tensor, ...]
    mask_features: Tensor


class RTMDetIns(Network[RTMDetInsOutputs]):
    """Detects boxes from priors and segments each with a kernel of its own.

    Source: RTMDet, arXiv:2212.07784.

    Args:
        config: the size.
        num_classes: K.
        mask_stride: input pixels per pixel of the mask loss: 4, 2 or 1.
        backbone: in place of the one the size names; maps of `STRIDES`.
    """

    presets = PRESETS
    pad_value = (114.0, 114.0, 114.0)

    def __init__(
        self,
        config: RTMDetInsConfig,
        num_classes: int,
        mask_stride: int = 4,
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.mask_stride = mask_stride
        self.backbone = backbone or Backbone(config.backbone, STRIDES)
        self.neck = PAFPN(self.backbone.channels, config.channels, config.num_blocks)
        self.head = Head(config.channels, num_classes)
        self.mask_branch = MaskFeatures(config.channels)

    def forward(self, images: Tensor) -> RTMDetInsOutputs:
        """Maps (B, 3, H, W) RGB in [0, 255] to raw predictions."""
        levels = self.neck(self.backbone(images))
        class_logits, distances, kernels = zip(*self.head(levels), strict=True)
        return RTMDetInsOutputs(class_logits, distances, kernels, self.mask_branch(levels))

    def loss(self, outputs: RTMDetInsOutputs, targets: Targets) -> dict[str, Tensor]:
        """Weighted loss terms `class`, `box` and `mask`."""
        with torch.autocast(outputs.mask_features.device.type, enabled=False):
            class_logits, distances, kernels = (
                torch.cat([x.flatten(2) for x in levels], dim=2).transpose(1, 2).float()
                for levels in outputs[:3]
            )  # (B, A, .)
            priors = self.priors(outputs)
            boxes = boxes_from_distances(priors, distances)  # (B, A, 4)
            valid = valid_priors(priors, targets)
            assignments = self.assign(class_logits, boxes, priors, valid, targets)
            images = list(targets.per_image())
            labels, target_boxes = [t[0] for t in images], [t[1] for t in images]
            masks = [masks_subsampled(t[2], targets.mask_stride, self.mask_stride) for t in images]
            features = outputs.mask_features.float()
            return {
                "class": class_loss(class_logits, labels, assignments, valid, self.class_weights),
                "box": box_loss(boxes, target_boxes, assignments),
                "mask": mask_loss(kernels, features, priors, masks, assignments),
            }

    def priors(self, outputs: RTMDetInsOutputs) -> Tensor:
        """The priors (A, 3) the outputs were predicted from: x, y, stride."""
        sizes = [(x.shape[-2], x.shape[-1]) for x in outputs.class_logits]
        return grid_priors(sizes, STRIDES, outputs.mask_features.device)

    def assign(
        self, class_logits: Tensor, boxes: Tensor, priors: Tensor, valid: Tensor, targets: Targets
    ) -> list[Assignment]:
        """Which prior of each image learns which instance; arguments as (B, A, .)."""
        assignments = []
        for i, (labels, target_boxes, masks) in enumerate(targets.per_image()):
            _, centres = measure_masks(masks, target_boxes, targets.mask_stride)
            on_image = valid[i].nonzero().flatten()
            found = assign(
                class_logits[i, on_image],
                boxes[i, on_image],
                priors[on_image],
                labels,
                target_boxes,
                centres,
            )
            instances = torch.full_like(valid[i], -1, dtype=torch.int64)
            instances[on_image] = found.instances
            quality = torch.zeros_like(valid[i], dtype=torch.float32)
            quality[on_image] = found.quality
            assignments.append(Assignment(instances, quality))
        return assignments

    @torch.no_grad()
    def detect(self, outputs: RTMDetInsOutputs, config: DecodeConfig) -> list[Detections]:
        """The instances of each image with soft masks at stride 8."""
        return [
            decode_image(
                [level[i] for level in outputs.class_logits],
                [level[i] for level in outputs.distances],
                [level[i] for level in outputs.kernels],
                outputs.mask_features[i],
                config,
            )
            for i in range(len(outputs.mask_features))
        ]


def valid_priors(priors: Tensor, targets: Targets) -> Tensor:
    """Whether each prior (A, 3) lies on the image and not on its padding: (B, A) bool.

    A step that the image only partly covers counts as covered.
    """
    sizes = torch.tensor(targets.valid_sizes, device=priors.device)  # (B, 2)
    steps = priors[:, :2] / priors[:, 2:]  # (A, 2) column and row
    covered = (sizes[:, None].flip(2) / priors[:, 2:]).ceil()  # (B, A, 2)
    return (steps < covered).all(2)
