"""Precision over recall of matched predictions, as COCO computes it.

Letters: T IoU thresholds, R = 101 recall levels, K classes, A size ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.comparison import Comparison
from crispmask.metrics.matching import IOU_THRESHOLDS, MOST_PER_IMAGE, Ranking, match

RECALL_LEVELS = np.linspace(0, 1, 101)
"""(R,)"""

AREA_RANGES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""All, small, medium and large instances, in pixels."""

_CHUNK = 1 << 16
"""Predictions of a class, those of each IoU threshold counted apart, worked on at a time."""

LIMITS = (1, 10, MOST_PER_IMAGE)
"""Predictions per image and class of the average recalls."""


@dataclass(frozen=True, slots=True)
class Accumulated:
    """Precision and recall; -1 for a class without instances in the range of sizes.

    Attributes:
        precision: (T, R, K, A) with 100 predictions per image and class, interpolated.
        scores: (T, R, K, A) score at which the recall is reached, 0 where it is not.
        recall: (T, K, A, 3) with 1, 10 and 100 predictions per image and class.
        partner: (D, T) annotation of each prediction, -1 for none; instances of all sizes.
    """

    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    recall: NDArray[np.float64]
    partner: NDArray[np.int32]


def accumulate(comparison: Comparison, ranking: Ranking, iou: NDArray[np.float64]) -> Accumulated:
    """Precision over recall of all classes and sizes.

    Args:
        comparison: what overlaps.
        ranking: of its predictions.
        iou: (P,) of its pairs: of masks, boxes or boundaries.
    """
    T, R, K, A = len(IOU_THRESHOLDS), len(RECALL_LEVELS), comparison.num_classes, len(AREA_RANGES)
    precision = np.full((T, R, K, A), -1.0)
    scores = np.full((T, R, K, A), -1.0)
    recall = np.full((T, K, A, len(LIMITS)), -1.0)
    found, annotations = comparison.predictions, comparison.annotations
    everywhere = np.zeros((0, T), dtype=np.int32)
    for a, area_range in enumerate(AREA_RANGES):
        matches = match(comparison, ranking, iou, area_range)
        everywhere = matches.partner if a == 0 else everywhere
        outside = (found.area < area_range[0]) | (found.area > area_range[1])
        wanted = np.bincount(annotations.label[~matches.ignored], minlength=K)
        for label in range(K):
            if not wanted[label]:
                continue
            part = slice(ranking.starts[label], ranking.starts[label + 1])
            order = ranking.order[part]
            by_score = np.argsort(-found.score[order], kind="stable")
            order, rank = order[by_score], ranking.rank[part][by_score]
            partner = matches.partner[order]  # (n, T)
            matched = partner >= 0
            right = matched & ~matches.ignored[partner]  # partner -1 is masked out by `matched`
            wrong = ~matched & ~outside[order][:, None]
            for limit, most in enumerate(LIMITS):
                hits = right[rank < most].sum(axis=0)
                recall[:, label, a, limit] = hits / wanted[label]
            precision[:, :, label, a], scores[:, :, label, a] = interpolate(
                right.T, wrong.T, found.score[order], int(wanted[label])
            )
    return Accumulated(precision, scores, recall, everywhere)


def interpolate(
    right: NDArray[np.bool_], wrong: NDArray[np.bool_], scores: NDArray[np.float64], wanted: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Highest precision (T, R) at or beyond each recall level, and the score that reaches it.

    Args:
        right: (T, n) predictions that found an instance, best score first.
        wrong: (T, n) those that found none; what is neither does not count.
        scores: (n,) descending.
        wanted: instances to be found.

    Returns:
        Precision and scores, both (T, R); 0 for recalls that are not reached.
    """
    T, n = right.shape
    precision, threshold = np.zeros((T, len(RECALL_LEVELS))), np.zeros((T, len(RECALL_LEVELS)))
    if not n:
        return precision, threshold
    step = max(1, _CHUNK // n)
    for first in range(0, T, step):
        part = slice(first, first + step)
        hits = np.cumsum(right[part], axis=1, dtype=np.float64)
        exact = hits / (hits + np.cumsum(wrong[part], axis=1, dtype=np.float64) + np.spacing(1))
        best = np.maximum.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
        recall = hits / wanted
        for i, level in enumerate(range(T)[part]):
            place = np.searchsorted(recall[i], RECALL_LEVELS, side="left")
            reached = int(np.searchsorted(place, n, side="left"))  # places ascend
            precision[level, :reached] = best[i, place[:reached]]
            threshold[level, :reached] = scores[place[:reached]]
    return precision, threshold
