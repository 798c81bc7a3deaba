"""The network and everything after it as one graph: images in, final instances out.

Letters: B batch, N rows, H and W input pixels, h and w mask pixels.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crispmask.config import DecodeConfig
from crispmask.export import rtmdet_ins, solov2
from crispmask.export.rows import boxes_around
from crispmask.export.rtmdet_ins import Nms
from crispmask.models.interface import Network
from crispmask.models.rtmdet_ins.model import RTMDetIns
from crispmask.models.solov2.model import Solov2

OUTPUTS = ("num_detections", "boxes", "scores", "labels", "masks", "soft_masks")
"""Names of what the graph returns, in this order."""


class Halve(nn.Module):
    """Turns what the normalisation returns into float16."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps any shape to itself."""
        return x.half()


class ExportGraph(nn.Module):
    """From pixels to final boxes, scores, labels and masks.

    Args:
        network: copied, not changed.
        config: decode settings, fixed in the graph.
        nms: suppression of boxes that the exporter understands.
        float_input: whether images are float32 in [0, 1] and not uint8.
        fixed_rows: whether there are always `max_det` rows.
        half: whether weights and convolutions are float16; decoding stays float32.
    """

    def __init__(
        self,
        network: Network[Any],
        config: DecodeConfig,
        nms: Nms,
        float_input: bool = False,
        fixed_rows: bool = False,
        half: bool = False,
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.config = config
        self.nms = nms
        self.float_input = float_input
        self.fixed_rows = fixed_rows
        if half:
            backbone = self.network.backbone
            normalise = backbone.normalise
            self.network.half()
            # Pixels need the range of float32 until they are normalised.
            backbone.normalise = nn.Sequential(normalise.float(), Halve())  # type: ignore[assignment]  # a copy

    @property
    def threshold(self) -> float:
        """A soft mask above it is inside the instance."""
        if isinstance(self.network, Solov2):
            return self.config.mask_threshold
        return torch.logit(torch.tensor(self.config.mask_threshold)).item()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Maps (B, 3, H, W) RGB to the instances of each image.

        Returns:
            Number of instances (B,), boxes (B, N, 4) xyxy in input pixels, scores (B, N),
            labels (B, N), masks (B, N, H, W) bool, soft masks (B, N, h, w).
        """
        outputs = self.network(images * 255 if self.float_input else images)
        if isinstance(self.network, Solov2):
            rows = solov2.decode_rows(outputs, self.config, self.fixed_rows)
        else:
            assert isinstance(self.network, RTMDetIns)
            rows = rtmdet_ins.decode_rows(outputs, self.config, self.nms, self.fixed_rows)
        size = images.shape[-2:]
        enlarged = F.interpolate(rows.soft_masks, size, mode="bilinear", align_corners=False)
        masks = enlarged > self.threshold  # (B, N, H, W)
        boxes = boxes_around(masks) if rows.boxes is None else rows.boxes
        return rows.counts, boxes, rows.scores, rows.labels, masks, rows.soft_masks
