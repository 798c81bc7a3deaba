"""Masks at the resolution a loss works at.

Letters: N instances, h and w mask pixels.
"""

from __future__ import annotations

from torch import Tensor

from crispmask.geometry.packed import PackedMasks

Masks = Tensor | PackedMasks
"""Bool masks (N, h, w), read by index."""


def masks_at_centre(masks: Masks, from_stride: int, to_stride: int) -> Masks:
    """Coarser masks: a pixel is set if at least two of the four around its centre are.

    Equals a bilinear reduction by 4 followed by rounding. Masks already rasterised at
    `to_stride` pass unchanged.

    Args:
        masks: (N, h, w) bool, on a grid of `from_stride` input pixels.
        from_stride: input pixels per pixel of `masks`.
        to_stride: wanted input pixels per pixel, a multiple of `from_stride`.
    """
    step = to_stride // from_stride
    if step <= 1:
        return masks
    masks = masks[:]  # (N, h, w), bool also if they were packed
    a = step // 2
    b = a - 1 if step % 2 == 0 else a
    votes = sum(masks[:, y::step, x::step].byte() for y, x in ((b, b), (b, a), (a, b), (a, a)))
    assert isinstance(votes, Tensor)  # sum() starts from an integer
    return votes >= 2


def masks_subsampled(masks: Masks, from_stride: int, to_stride: int) -> Masks:
    """Coarser masks: every pixel takes the one at its middle. Arguments as above."""
    step = to_stride // from_stride
    return masks if step <= 1 else masks[:][:, step // 2 :: step, step // 2 :: step]
