"""Instances as predictions of Label Studio, which its users correct.

An instance is a polygon. Polygons of Label Studio have no holes and no second part, so an
instance that has is a brush mask. The format is described in the documentation of Label Studio;
the compression of brush masks is rle-pack of thi.ng/umbrella.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.mask_runs import mask_crop, mask_extent
from crispmask.geometry.outline import mask_to_parts
from crispmask.types import Instances, class_name

TOLERANCE = 1.0
"""Pixels an outline may leave the edge of its mask by: without the staircase there are few points
to drag."""

_SIZES = (3, 4, 8, 16)
"""Bits a length of a packed run may have."""


def label_config(names: tuple[str, ...]) -> str:
    """The labelling interface the tasks are made for."""
    labels = "".join(f"\n    <Label value={quoteattr(name)}/>" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <PolygonLabels name="polygon" toName="image">{labels}\n  </PolygonLabels>\n'
        f'  <BrushLabels name="brush" toName="image">{labels}\n  </BrushLabels>\n</View>\n'
    )


def to_task(instances: Instances, image: str, model_version: str) -> dict[str, Any]:
    """One task with the instances as its prediction.

    Args:
        instances: of the image.
        image: a URL, which stays, or a path: it becomes the address under which Label Studio
            serves local files whose root is `/`.
        model_version: shown beside the prediction.
    """
    if "://" not in image:
        image = "/data/local-files/?d=" + Path(image).absolute().as_posix().lstrip("/")
    regions = [r for i in range(len(instances)) if (r := _region(instances, i)) is not None]
    score = float(instances.scores.mean()) if len(instances) else 0.0
    prediction = {"model_version": model_version, "score": round(score, 4), "result": regions}
    return {"data": {"image": image}, "predictions": [prediction]}


def _region(instances: Instances, i: int) -> dict[str, Any] | None:
    masks, (height, width) = instances.compact_masks, instances.size
    if (extent := mask_extent(masks, i)) is None:
        return None
    label = int(instances.labels[i])
    name = class_name(instances.names, label)
    region: dict[str, Any] = {
        "id": f"instance{i}",
        "to_name": "image",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(float(instances.scores[i]), 4),
    }
    crop = mask_crop(masks, i, extent)
    parts = mask_to_parts(crop)
    if len(parts) > 1:
        x1, y1, x2, y2 = extent
        whole = np.zeros((height, width), dtype=np.bool_)
        whole[y1:y2, x1:x2] = crop
        value: dict[str, Any] = {
            "format": "rle",
            "rle": pack_mask(whole),
            "brushlabels": [name],
        }
        return {**region, "type": "brushlabels", "from_name": "brush", "value": value}
    ring = cv2.approxPolyDP(parts[0][:, None], TOLERANCE, True)[:, 0]
    if len(ring) < 3:  # of a mask as thin as the tolerance
        ring = parts[0]
    points = ((ring + extent[:2]) * 100 / np.array([width, height])).round(4).tolist()  # per cent
    value = {"points": points, "closed": True, "polygonlabels": [name]}
    return {**region, "type": "polygonlabels", "from_name": "polygon", "value": value}


def pack_mask(mask: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) as Label Studio packs it: the bytes of an RGBA image, row by row.

    Bits: 32 for the number of bytes, 5 for their width, four times 4 for `_SIZES`; then for each
    run a 1, two bits that choose a size, the length less one in so many bits, and the byte.
    """
    changes = np.flatnonzero(np.diff(mask.ravel())) + 1
    bounds = np.concatenate([[0], changes, [mask.size]]) * 4  # four bytes per pixel
    bits = [f"{mask.size * 4:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    inside = bool(mask.flat[0]) if mask.size else False
    for length in np.diff(bounds).tolist():
        byte = "11111111" if inside else "00000000"
        while length:
            part = min(length, 1 << _SIZES[-1])
            index = next(k for k, size in enumerate(_SIZES) if part <= 1 << size)
            bits.append(f"1{index:02b}{part - 1:0{_SIZES[index]}b}{byte}")
            length -= part
        inside = not inside
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))
