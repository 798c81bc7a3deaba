"""Average precision of outcomes, with a weight for each image.

Letters: B sets of weights, I images, D predictions, G annotations, K classes, T IoU thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.average_precision import RECALL_LEVELS
from crispmask.metrics.outcomes import Outcomes


def average_precision(right: NDArray[np.bool_], num_annotations: int) -> float:
    """COCO's interpolated average precision; -1 without annotations.

    Args:
        right: (D,) whether each prediction, best score first, found an annotation.
        num_annotations: there are.
    """
    if num_annotations <= 0:
        return -1.0
    one = np.ones((1, len(right)))
    precision, _ = _curve_area(
        np.flatnonzero(right), one.cumsum(1), one, np.array([[num_annotations]])
    )
    return float(precision[0])


@dataclass(frozen=True, slots=True)
class Averages:
    """Average precision and recall of each class, -1 where it has no instances.

    Attributes:
        precision: (B, T, K).
        recall: (B, T, K) that is reached at most.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


def weighted_averages(outcomes: Outcomes, weights: NDArray[np.float64]) -> Averages:
    """AP and recall as if each image were there as often as its weight says.

    Copies of an image stand next to each other in the order of the predictions; that matters
    only where predictions of different images have exactly the same score.

    Args:
        outcomes: of a split.
        weights: (B, I), integers of at least 0; one for each image gives the metrics of the split.
    """
    num_levels, num_classes = outcomes.partners.shape[1], outcomes.num_classes
    precision = np.full((len(weights), num_levels, num_classes), -1.0)
    recall = precision.copy()
    for label in range(num_classes):
        instances = (outcomes.annotation_labels == label) & ~outcomes.crowd
        total = weights[:, outcomes.annotation_images[instances]].sum(1, keepdims=True)  # (B, 1)
        if not total.any():
            continue
        mine = np.flatnonzero(outcomes.labels == label)
        right = outcomes.partners[mine] >= 0  # (D', T)
        hits = np.flatnonzero(right.any(1))
        mine = mine[: hits[-1] + 1] if len(hits) else mine[:0]  # what follows changes nothing
        right, ignored = right[: len(mine)], outcomes.ignored[mine]
        weight = weights[:, outcomes.images[mine]]  # (B, D')
        seen = weight.cumsum(1)
        for level in range(num_levels):
            counted = seen
            if ignored[:, level].any():
                counted = seen - np.cumsum(weight * ignored[:, level], axis=1)
            places = np.flatnonzero(right[:, level])
            area, reached = _curve_area(places, counted, weight, total)
            precision[:, level, label] = np.where(total[:, 0] > 0, area, -1)
            recall[:, level, label] = np.where(total[:, 0] > 0, reached, -1)
    return Averages(precision, recall)


def _curve_area(
    places: NDArray[np.int64],
    seen: NDArray[np.float64],
    weight: NDArray[np.float64],
    total: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean precision at the recall levels, and the highest recall, (B,) each.

    Only hits raise the recall, so the precision has to be known at them alone. Each stands for
    the recall levels it is the first to reach.

    Args:
        places: positions of the hits.
        seen: (B, D) weight of the predictions up to each, itself included.
        weight: (B, D).
        total: (B, 1) weight of the annotations.
    """
    if not len(places):
        return np.zeros(len(weight)), np.zeros(len(weight))
    right = weight[:, places].cumsum(1)
    precision = right / np.maximum(seen[:, places], 1e-12)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right / np.maximum(total, 1e-12)
    reached = np.searchsorted(RECALL_LEVELS, recall, side="right")
    levels = np.diff(reached, axis=1, prepend=0)
    return (precision * levels).sum(1) / len(RECALL_LEVELS), recall[:, -1]
