"""The SOLOv2 network.

Letters: B batch, K classes, S cells per side, D kernel weights, h and w a quarter of the
input size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from crispmask.config import DecodeConfig
from crispmask.models.backbone import Backbone
from crispmask.models.detections import Detections
from crispmask.models.interface import Network
from crispmask.models.layers import resize
from crispmask.models.mask_targets import masks_at_centre
from crispmask.models.necks import FPN
from crispmask.models.solov2.config import BACKBONE_STRIDES, PRESETS, Solov2Config
from crispmask.models.solov2.decode import MASK_STRIDE, decode_image
from crispmask.models.solov2.head import GridBranches, MaskFeatures
from crispmask.models.solov2.loss import class_loss, mask_loss
from crispmask.models.solov2.targets import GridTargets, grid_targets
from crispmask.types import Size, Targets


class Solov2Outputs(NamedTuple):
    """Raw predictions of a batch.

    Attributes:
        class_logits: (B, K, S, S) of each level.
        kernels: (B, D, S, S) of each level.
        mask_features: (B, D, h, w).
    """

    class_logits: tuple[Tensor, ...]
    kernels: tuple[Tensor, ...]
    mask_features: Tensor


class Solov2(Network[Solov2Outputs]):
    """Segments instances by the cell their centre falls into.

    Source: SOLOv2, arXiv:2003.10152.

    Args:
        config: the size.
        num_classes: K.
        mask_stride: input pixels per pixel of the mask loss: 4, 2 or 1.
        backbone: in place of the one the size names; maps of `BACKBONE_STRIDES`.
    """

    presets = PRESETS

    def __init__(
        self,
        config: Solov2Config,
        num_classes: int,
        mask_stride: int = 4,
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_classes = num_classes
        self.mask_stride = mask_stride
        self.backbone = backbone or Backbone(config.backbone, BACKBONE_STRIDES)
        self.pad_value = self.backbone.mean  # zero once normalised
        self.neck = FPN(self.backbone.channels, config.fpn_channels)
        self.grid_branches = GridBranches(config, num_classes)
        self.mask_branch = MaskFeatures(config)

    def forward(self, images: Tensor) -> Solov2Outputs:
        """Maps (B, 3, H, W) RGB in [0, 255] to raw predictions."""
        P2, P3, P4, P5, P6 = self.neck(self.backbone(images))
        h, w = P2.shape[-2:]
        # The finest level is read at half its size, the coarsest at twice its own.
        levels = [resize(P2, (h // 2, w // 2)), P3, P4, P5, resize(P6, P5.shape[-2:])]
        grids = [self.grid_branches(x, S) for x, S in zip(levels, self.config.grids, strict=True)]
        class_logits, kernels = zip(*grids, strict=True)
        return Solov2Outputs(class_logits, kernels, self.mask_branch([P2, P3, P4, P5]))

    def loss(self, outputs: Solov2Outputs, targets: Targets) -> dict[str, Tensor]:
        """Weighted loss terms `class` and `mask`."""
        outputs = _in_float32(outputs)
        h, w = outputs.mask_features.shape[-2:]
        with torch.autocast(outputs.mask_features.device.type, enabled=False):
            grids = self.assign(targets, (h * MASK_STRIDE, w * MASK_STRIDE))
            masks = [
                masks_at_centre(m, targets.mask_stride, self.mask_stride)
                for _, _, m in targets.per_image()
            ]
            return {
                "class": class_loss(outputs.class_logits, grids, self.class_weights),
                "mask": mask_loss(outputs.kernels, outputs.mask_features, masks, grids),
            }

    def assign(self, targets: Targets, input_size: Size) -> list[list[GridTargets]]:
        """Which cells learn which instance: for each image, for each level."""
        return [
            grid_targets(
                labels,
                boxes,
                masks,
                targets.mask_stride,
                input_size,
                self.config.grids,
                self.config.scale_ranges,
                self.num_classes,
            )
            for labels, boxes, masks in targets.per_image()
        ]

    @torch.no_grad()
    def detect(self, outputs: Solov2Outputs, config: DecodeConfig) -> list[Detections]:
        """The instances of each image with soft masks at stride 4."""
        return [
            decode_image(
                [level[i] for level in outputs.class_logits],
                [level[i] for level in outputs.kernels],
                outputs.mask_features[i],
                config,
            )
            for i in range(len(outputs.mask_features))
        ]


def _in_float32(outputs: Solov2Outputs) -> Solov2Outputs:
    return Solov2Outputs(
        tuple(x.float() for x in outputs.class_logits),
        tuple(x.float() for x in outputs.kernels),
        outputs.mask_features.float(),
    )
