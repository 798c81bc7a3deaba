"""Validation images with labels and predictions side by side, for loggers that show images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crispmask.config import DecodeConfig
from crispmask.data.index import DatasetIndex
from crispmask.draw import draw_instances
from crispmask.engine.predictions import Predictions
from crispmask.engine.report import from_coco
from crispmask.engine.thumbnails import small_image
from crispmask.geometry.letterbox import fit_size
from crispmask.geometry.raster import rasterise
from crispmask.types import Size

NUM_PICTURES = 4
"""Images of the validation split that are shown."""

PICTURES_PER_RUN = 10
"""About how often in a run; event files would grow with each."""

_SIDE = 400
_GAP = 8


def is_time_for_pictures(epoch: int, epochs: int) -> bool:
    """Whether an epoch is one of those whose predictions are shown; the last one always is."""
    return epoch >= epochs or epoch % max(1, epochs // PICTURES_PER_RUN) == 0


def chosen_images(index: DatasetIndex) -> list[int]:
    """Positions of images with instances, spread over the split."""
    with_instances = np.flatnonzero(np.diff(index.image_offsets))
    if len(with_instances) == 0:
        return list(range(min(NUM_PICTURES, len(index))))
    spread = np.linspace(0, len(with_instances) - 1, min(NUM_PICTURES, len(with_instances)))
    return [int(i) for i in with_instances[spread.round().astype(int)]]


def labels_and_predictions(
    index: DatasetIndex, i: int, predictions: Predictions, names: tuple[str, ...]
) -> NDArray[np.uint8]:
    """Image i twice, (H, W, 3): with its labels, and with what was found.

    Args:
        index: the validation split.
        i: position of the image.
        predictions: of the whole split; those above the confidence users see are drawn.
        names: class names by label.
    """
    size: Size = fit_size(index.size(i), _SIDE, upscale=False)
    image = small_image(index, i, size)
    polygons, labels = index.annotation(i, size)
    left = draw_instances(image, rasterise(polygons, size), labels, names)
    rows = [r for r in predictions.of_image(i + 1) if r["score"] >= DecodeConfig.conf]
    found = from_coco(rows, size, names)
    right = draw_instances(image, found.masks, found.labels, names, found.scores)
    gap = np.full((size[0], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([left, gap, right], axis=1)
