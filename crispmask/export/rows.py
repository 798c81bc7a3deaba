"""What the decoders of the exported graph share: padded rows instead of lists.

Letters: B batch, N rows, n candidates of one image, h and w mask pixels, H and W input pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """Instances of a batch, best score first; images with fewer than N have empty rows at the end.

    Attributes:
        counts: (B,) int64, rows in use.
        scores: (B, N) float32, 0 in empty rows.
        labels: (B, N) int64, 0 in empty rows.
        boxes: (B, N, 4) float32 xyxy in input pixels, or None: they follow from the masks.
        soft_masks: (B, N, h, w) float32, below the threshold in empty rows.
    """

    counts: Tensor
    scores: Tensor
    labels: Tensor
    boxes: Tensor | None
    soft_masks: Tensor


def best(scores: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The `num` largest of (B, n) and their places, both (B, num); zeros where n is smaller."""
    padded = torch.cat([scores, scores.new_zeros(scores.shape[0], num)], dim=1)
    values, places = padded.topk(num, dim=1)
    return values, places.clamp(max=scores.shape[1] - 1)


def pick(values: Tensor, places: Tensor) -> Tensor:
    """Rows of (B, n) or (B, n, C) at places (B, N): (B, N) or (B, N, C)."""
    if values.dim() == 2:
        return values.gather(1, places)
    return values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))


def pick_whole(values: Tensor, places: Tensor) -> Tensor:
    """`pick` of (B, n, C), faster where C is large: rows are copied whole, not each number."""
    B, n, _ = values.shape
    first = torch.arange(B, device=places.device)[:, None] * n
    return values.flatten(0, 1)[(places + first).flatten()].unflatten(0, places.shape)


def divide(places: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Quotient and remainder of (B, n); `num` may be a size the exporter does not know."""
    divisor = torch.full_like(places, num)
    return places // divisor, places % divisor


def cut(values: Tensor, num: Tensor, most: int) -> Tensor:
    """The first `num` columns of (B, most), at least one: a number that only the data tells."""
    # Not zero: some runtimes reject tensors without elements.
    columns: Any = num.clamp(min=1).item()  # int() would ask for its value while exporting
    torch._check(columns >= 1)
    torch._check(columns <= most)
    return values.narrow(1, 0, columns)


def boxes_around(masks: Tensor) -> Tensor:
    """The boxes (B, N, 4) around bool masks (B, N, H, W); zeros where a mask is empty."""
    ends = []
    for axis in (2, 3):
        filled = masks.any(dim=axis)  # (B, N, W), then (B, N, H)
        first = torch.arange(filled.shape[2], device=masks.device, dtype=torch.float32)
        length = first.new_zeros(()) + filled.shape[2]
        low = torch.where(filled, first, length).amin(2)
        high = torch.where(filled, first + 1, first.new_zeros(())).amax(2)
        ends += [torch.minimum(low, high), high]
    left, right, top, bottom = ends
    return torch.stack([left, top, right, bottom], dim=2)
