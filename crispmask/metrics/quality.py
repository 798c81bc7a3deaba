"""How well each image went: which ones are worth a look.

Letters: I images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.outcomes import Outcomes


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """Figures of each image, (I,) each.

    Attributes:
        quality: in [0, 1]; NaN where nothing was annotated and nothing found.
        right: predictions that found an annotation of their class at IoU 0.50.
        wrong: predictions that did not.
        missed: annotations that were not found.
    """

    quality: NDArray[np.float64]
    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    missed: NDArray[np.int64]

    def worst_first(self) -> NDArray[np.int64]:
        """Positions of the images that have a quality; of equal ones more mistakes first."""
        rated = np.flatnonzero(np.isfinite(self.quality))
        mistakes = self.wrong + self.missed
        return rated[np.lexsort((rated, -mistakes[rated], self.quality[rated]))]


def image_quality(outcomes: Outcomes) -> ImageQuality:
    """Panoptic quality of each image, its classes taken together.

    PQ = sum of the IoU of the hits / (hits + wrong predictions / 2 + missed annotations / 2).
    Source: A. Kirillov et al.: Panoptic Segmentation, arXiv:1801.00868, the metric.

    Args:
        outcomes: of the predictions a user would see, `outcomes.above(conf)`.
    """
    num_images = outcomes.num_images
    partners = outcomes.partners[:, 0]
    hit = partners >= 0
    right = np.bincount(outcomes.images[hit], minlength=num_images)
    wrong = np.bincount(outcomes.images[~hit & ~outcomes.ignored[:, 0]], minlength=num_images)
    annotated = np.bincount(outcomes.annotation_images[~outcomes.crowd], minlength=num_images)
    missed = annotated - right
    mine, theirs = outcomes.pairs.T
    matched = partners[mine] == theirs
    agreement = np.bincount(
        outcomes.images[mine[matched]], weights=outcomes.overlaps[matched], minlength=num_images
    )
    total = right + (wrong + missed) / 2
    quality = np.where(total > 0, agreement / np.maximum(total, 0.5), np.nan)
    return ImageQuality(quality, right, wrong, missed)
