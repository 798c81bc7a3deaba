"""The branches of SOLOv2 behind the pyramid.

Letters: B batch, C channels, S cells per side, K classes, D kernel weights, h and w size of
a feature map.
"""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from crispmask.models.layers import (
    ConvNormAct,
    append_coordinates,
    group_norm,
    init_normal,
    prior_bias,
    resize,
)
from crispmask.models.solov2.config import Solov2Config


def _conv(in_channels: int, out_channels: int, kernel_size: int = 3) -> ConvNormAct:
    return ConvNormAct(in_channels, out_channels, kernel_size, norm=group_norm, act=nn.ReLU)


class GridBranches(nn.Module):
    """Predicts class logits and a mask kernel for each cell of a level's grid.

    Source: SOLOv2, arXiv:2003.10152, the category and mask kernel branches; weights are
    shared by all levels.

    Args:
        config: widths and depth.
        num_classes: K.
    """

    def __init__(self, config: Solov2Config, num_classes: int) -> None:
        super().__init__()
        C, width = config.fpn_channels, config.head_channels
        widths = [width] * config.num_convs
        self.class_convs = nn.Sequential(*(_conv(i, o) for i, o in pairwise([C, *widths])))
        self.kernel_convs = nn.Sequential(*(_conv(i, o) for i, o in pairwise([C + 2, *widths])))
        self.class_logits = nn.Conv2d(width, num_classes, 3, padding=1)
        self.kernels = nn.Conv2d(width, config.kernel_channels, 3, padding=1)
        init_normal(self)
        assert self.class_logits.bias is not None
        nn.init.constant_(self.class_logits.bias, prior_bias(0.01))

    def forward(self, features: Tensor, num_cells: int) -> tuple[Tensor, Tensor]:
        """Maps one level (B, C, h, w) to logits (B, K, S, S) and kernels (B, D, S, S).

        Cell (i, j) is row i, column j. Coordinates are appended before the level is
        resampled to its grid, for the kernels alone.
        """
        x = resize(append_coordinates(features), (num_cells, num_cells))  # (B, C + 2, S, S)
        logits = self.class_logits(self.class_convs(x[:, :-2]))
        return logits, self.kernels(self.kernel_convs(x))


class MaskFeatures(nn.Module):
    """Fuses four levels of the pyramid into the map that kernels are applied to.

    Source: SOLOv2, arXiv:2003.10152, the unified mask feature representation; coordinates
    enter with the coarsest level.

    Args:
        config: widths.
    """

    def __init__(self, config: Solov2Config) -> None:
        super().__init__()
        C, width = config.fpn_channels, config.mask_channels
        self.levels = nn.ModuleList()
        for level in range(4):
            first = C + 2 if level == 3 else C
            widths = [first, *[width] * max(level, 1)]
            self.levels.append(nn.ModuleList(_conv(i, o) for i, o in pairwise(widths)))
        self.output = _conv(width, config.kernel_channels, 1)
        init_normal(self)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps P2 to P5, each (B, C, h, w), to (B, D, h, w) at the size of P2; never negative."""
        fused: Tensor | None = None
        for i, (x, convs) in enumerate(zip(levels, self.levels, strict=True)):
            if i == len(levels) - 1:
                x = append_coordinates(x)  # (B, C + 2, h, w)
            assert isinstance(convs, nn.ModuleList)  # ModuleList forgets the type
            for conv in convs:
                x = conv(x)
                if i > 0:  # (B, width, 2 h, 2 w)
                    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            fused = x if fused is None else fused + x
        assert fused is not None
        return self.output(fused)
