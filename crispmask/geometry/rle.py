"""Run-length encoding of masks as COCO stores them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.runs import read_lengths
from crispmask.types import Size


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
    return [_clean(rle) for rle in rles]


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


def encode_polygons(polygons: list[list[float]], size: Size) -> dict[str, Any]:
    """Compressed RLE of the union of polygons, as COCO fills them.

    Args:
        polygons: x1, y1, x2, y2 ... of each, pixels.
        size: (height, width).
    """
    from faster_coco_eval.core import mask as coco_mask

    return _clean(coco_mask.merge(coco_mask.frPyObjects(polygons, *size)))


def encode_runs(runs: list[int], size: Size) -> dict[str, Any]:
    """Compressed RLE of the lengths of its runs.

    Raises:
        ValueError: they do not fill a mask of this size.
    """
    from faster_coco_eval.core import mask as coco_mask

    lengths = np.asarray(runs, dtype=np.int64)
    if (lengths < 0).any() or lengths.sum() != size[0] * size[1]:
        raise ValueError(f"its runs do not fill {size[1]} x {size[0]} pixels")
    return _clean(coco_mask.frPyObjects({"size": list(size), "counts": lengths.tolist()}, *size))


def box_of_rle(rle: dict[str, Any]) -> list[float]:
    """x, y, width and height of a mask, zeros if it is empty."""
    from faster_coco_eval.core import mask as coco_mask

    return [float(value) for value in np.asarray(coco_mask.toBbox([rle])).reshape(4)]


def is_rle(counts: Any, size: Size) -> bool:
    """Whether a text is a compressed RLE that fills a mask of this size exactly."""
    try:
        runs = read_lengths(counts) if isinstance(counts, str) else np.zeros(0, dtype=np.int64)
    except ValueError:
        return False
    return len(runs) > 0 and int(runs.min()) >= 0 and int(runs.sum()) == size[0] * size[1]


def _clean(rle: Any) -> dict[str, Any]:
    return {"size": [int(side) for side in rle["size"]], "counts": _as_text(rle["counts"])}


def _as_text(counts: str | bytes) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else counts
