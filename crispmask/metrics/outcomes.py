"""What came of each prediction: kept for everything that looks back at single ones.

Letters: D predictions, G annotations, T IoU thresholds, P overlapping pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.comparison import Comparison
from crispmask.metrics.matching import match, rank_predictions
from crispmask.metrics.overlaps import LOWEST_IOU


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Predictions that count, best score first, annotations, and which found which.

    Attributes:
        num_images: I, images of the split, those without anything included.
        num_classes: K.
        rows: (D,) position of each prediction in the results file.
        images: (D,) position of its image among the image ids in ascending order.
        labels: (D,) its class.
        scores: (D,) descending.
        partners: (D, T) the annotation found at each IoU threshold, -1 if none.
        ignored: (D, T) found nothing but a crowd: neither right nor wrong.
        annotation_images: (G,) as `images`.
        annotation_labels: (G,) as `labels`.
        crowd: (G,) whether it is a crowd.
        pairs: (P, 2) prediction and annotation of any class that overlap by at least
            `overlaps.LOWEST_IOU`.
        overlaps: (P,) their IoU; with a crowd the share of the prediction inside it.
    """

    num_images: int
    num_classes: int
    rows: NDArray[np.int64]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    partners: NDArray[np.int32]
    ignored: NDArray[np.bool_]
    annotation_images: NDArray[np.int64]
    annotation_labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    pairs: NDArray[np.int64]
    overlaps: NDArray[np.float64]

    def above(self, conf: float) -> Outcomes:
        """Without the predictions of a lower score. The others match as they did."""
        count = int(np.searchsorted(-self.scores, -conf, side="right"))
        kept = self.pairs[:, 0] < count
        return replace(
            self,
            rows=self.rows[:count],
            images=self.images[:count],
            labels=self.labels[:count],
            scores=self.scores[:count],
            partners=self.partners[:count],
            ignored=self.ignored[:count],
            pairs=self.pairs[kept],
            overlaps=self.overlaps[kept],
        )


def outcomes_of(comparison: Comparison, kind: Literal["mask", "box"] = "mask") -> Outcomes:
    """Matches predictions of all sizes with annotations.

    Args:
        comparison: what overlaps.
        kind: what is compared.
    """
    found, annotations, pairs = comparison.predictions, comparison.annotations, comparison.pairs
    iou = pairs.mask_iou if kind == "mask" else pairs.box_iou
    ranking = rank_predictions(comparison)
    matches = match(comparison, ranking, iou)
    # As COCO adds up: by score, equal ones in the order of the images, then of the file.
    rows = ranking.order[
        np.lexsort((ranking.rank, found.image_id[ranking.order], -found.score[ranking.order]))
    ]
    place = np.full(len(found), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    partners = matches.partner[rows]
    ignored = (partners >= 0) & np.append(matches.ignored, False)[partners]
    kept = (iou >= LOWEST_IOU) & (place[pairs.prediction] >= 0)
    return Outcomes(
        num_images=len(comparison.image_ids),
        num_classes=comparison.num_classes,
        rows=rows,
        images=np.searchsorted(comparison.image_ids, found.image_id[rows]),
        labels=found.label[rows],
        scores=found.score[rows],
        partners=np.where(ignored, -1, partners),
        ignored=ignored,
        annotation_images=np.searchsorted(comparison.image_ids, annotations.image_id),
        annotation_labels=annotations.label,
        crowd=annotations.crowd,
        pairs=np.stack([place[pairs.prediction[kept]], pairs.annotation[kept]], axis=1),
        overlaps=iou[kept],
    )
