"""Which cells of which grid learn which instance.

Letters: N instances of one image, P positive entries, S cells per side, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crispmask.models.centres import measure_masks
from crispmask.models.mask_targets import Masks
from crispmask.types import Size

CENTRE_REGION = 0.2
"""Sides of the region of positive cells, fraction of the box. Source: SOLO, arXiv:1912.04488."""


@dataclass(frozen=True, slots=True)
class GridTargets:
    """Targets of one level of one image.

    Attributes:
        labels: (S * S,) int64, K where no instance is learnt.
        cells: (P,) int64, row-major cell of each entry; a cell claimed by two instances
            appears twice, its label is that of the later one.
        instances: (P,) int64, the instance each entry's kernel learns.
    """

    labels: Tensor
    cells: Tensor
    instances: Tensor


def grid_targets(
    labels: Tensor,
    boxes: Tensor,
    masks: Masks,
    mask_stride: int,
    input_size: Size,
    grids: tuple[int, ...],
    scale_ranges: tuple[tuple[float, float], ...],
    num_classes: int,
) -> list[GridTargets]:
    """Targets of one image for every level.

    An instance belongs to each level whose range holds the square root of its box area, and
    there to the cells its centre region touches, at most one beside the centre's cell.
    Source: SOLO, arXiv:1912.04488, label assignment; details as MMDetection's SOLOV2Head.

    Args:
        labels: (N,) int64.
        boxes: (N, 4) xyxy, input pixels.
        masks: (N, h, w) bool, on a grid of `mask_stride` input pixels.
        mask_stride: input pixels per mask pixel.
        input_size: (height, width) of the padded input, the frame of the grids.
        grids: S of each level.
        scale_ranges: smallest and largest size of each level, pixels, both included.
        num_classes: K.
    """
    sides = boxes[:, 2:] - boxes[:, :2]  # (N, 2)
    sizes = sides.prod(1).sqrt()  # (N,)
    areas, centres = measure_masks(masks, boxes, mask_stride)  # (N,), (N, 2)
    visible = sizes > 0
    if mask_stride == 1:  # at full resolution an empty mask means there is nothing to see
        visible = visible & (areas > 0)
    frame = centres.new_tensor([input_size[1], input_size[0]])
    targets = []
    for num_cells, (low, high) in zip(grids, scale_ranges, strict=True):
        chosen = (visible & (sizes >= low) & (sizes <= high)).nonzero().flatten()  # (n,)
        cells, owners = _positive_cells(centres[chosen], sides[chosen], frame, num_cells)
        instances = chosen[owners]
        # The later instance wins a cell: its index is the largest that claims it.
        winner = cells.new_full((num_cells**2,), -1)
        winner = winner.scatter_reduce(0, cells, instances, reduce="amax")
        cell_labels = torch.where(
            winner >= 0,
            labels[winner] if len(labels) else winner,
            winner.new_full((), num_classes),
        )
        targets.append(GridTargets(cell_labels, cells, instances))
    return targets


def _positive_cells(
    centres: Tensor, sides: Tensor, frame: Tensor, num_cells: int
) -> tuple[Tensor, Tensor]:
    """Row-major cells (P,) and the index of the instance (P,) that claims each.

    In order of instance, row, column. `centres` and `sides` are (n, 2) xy, `frame` is (2,) width
    and height.
    """

    def cell_of(position: Tensor) -> Tensor:
        # Truncation in float32, as MMDetection computes it: at a border the result can
        # differ from floor(position / frame * S).
        cell = torch.div(position / frame, 1 / num_cells, rounding_mode="trunc")
        return cell.long().clamp(0, num_cells - 1)

    half = sides * CENTRE_REGION / 2
    middle = cell_of(centres)  # (n, 2)
    first = torch.maximum(cell_of(centres - half), middle - 1)
    last = torch.minimum(cell_of(centres + half), middle + 1)
    offset = torch.arange(-1, 2, device=centres.device)
    y = middle[:, 1, None, None] + offset[:, None]  # (n, 3, 1)
    x = middle[:, 0, None, None] + offset  # (n, 1, 3)
    inside = (
        (y >= first[:, 1, None, None])
        & (y <= last[:, 1, None, None])
        & (x >= first[:, 0, None, None])
        & (x <= last[:, 0, None, None])
    )  # (n, 3, 3)
    # Once: a GPU has to be waited for to know how many there are.
    owners, row, column = inside.nonzero().unbind(1)  # (P,) each
    return (y * num_cells + x)[owners, row, column], owners
