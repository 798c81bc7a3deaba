"""Instances for FiftyOne."""

from __future__ import annotations

from typing import Any

import numpy as np

from crispmask.geometry.mask_runs import mask_crop, mask_extent
from crispmask.types import Instances, class_name


def to_detections(instances: Instances) -> Any:
    """`fiftyone.Detections`: boxes relative to the image, masks of their boxes.

    FiftyOne stretches a mask over its box, so the box is the one around the mask; an instance
    without a pixel is left out.
    """
    import fiftyone

    height, width = instances.size
    masks = instances.compact_masks
    found = []
    for i in range(len(instances)):
        if (extent := mask_extent(masks, i)) is None:
            continue
        x1, y1, x2, y2 = extent
        label = int(instances.labels[i])
        found.append(
            fiftyone.Detection(
                label=class_name(instances.names, label),
                bounding_box=[x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height],
                mask=np.ascontiguousarray(mask_crop(masks, i, extent)),
                confidence=float(instances.scores[i]),
            )
        )
    return fiftyone.Detections(detections=found)
