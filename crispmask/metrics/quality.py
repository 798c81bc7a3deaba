"""How well each image went: which ones are worth a look.

Letters: I images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.matches import Matches


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


def image_quality(matches: Matches) -> ImageQuality:
    """Panoptic quality of each image, its classes taken together.

    PQ = sum of the IoU of the hits / (hits + wrong predictions / 2 + missed annotations / 2).
    Source: A. Kirillov et al.: Panoptic Segmentation, arXiv:1801.00868, the metric.

    Args:
        matches: of the predictions a user would see, `matches.above(conf)`.
    """
    num_images = matches.num_images
    partners = matches.partners[0]
    hit = partners >= 0
    right = np.bincount(matches.images[hit], minlength=num_images)
    wrong = np.bincount(matches.images[~hit & ~matches.ignored[0]], minlength=num_images)
    annotated = np.bincount(matches.annotation_images[~matches.crowd], minlength=num_images)
    missed = annotated - right
    mine, theirs = matches.pairs.T
    matched = partners[mine] == theirs
    agreement = np.bincount(
        matches.images[mine[matched]], weights=matches.overlaps[matched], minlength=num_images
    )
    total = right + (wrong + missed) / 2
    quality = np.where(total > 0, agreement / np.maximum(total, 0.5), np.nan)
    return ImageQuality(quality, right, wrong, missed)
