"""Run-length encoding of masks as COCO stores them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode_masks(masks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Compressed COCO RLE of each mask: {"size": [H, W], "counts": text}.

    Args:
        masks: (N, H, W).
    """
    from faster_coco_eval.core import mask as coco_mask

    # The encoder wants (H, W, 1) column by column in memory. One mask at a time: a copy of
    # all masks of a large image can be gigabytes.
    rles = [
        coco_mask.encode(np.asfortranarray(mask[:, :, None], dtype=np.uint8))[0] for mask in masks
    ]
    return [
        {"size": [int(side) for side in rle["size"]], "counts": _as_text(rle["counts"])}
        for rle in rles
    ]


def decode_masks(rles: list[dict[str, Any]]) -> NDArray[np.bool_]:
    """Masks (N, H, W) of compressed COCO RLE of one size; no RLE gives (0, 0, 0)."""
    from faster_coco_eval.core import mask as coco_mask

    if not rles:
        return np.zeros((0, 0, 0), dtype=bool)
    height, width = rles[0]["size"]
    masks = np.empty((len(rles), height, width), dtype=bool)
    for mask, rle in zip(masks, rles, strict=True):
        mask[:] = coco_mask.decode([rle])[:, :, 0]
    return masks


def _as_text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
