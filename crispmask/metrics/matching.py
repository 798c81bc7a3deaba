"""Which prediction is taken for which annotation, as COCO decides it.

Letters: D predictions, G annotations, P pairs, T IoU thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.comparison import Comparison

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""(T,) 0.50, 0.55 ... 0.95."""

MOST_PER_IMAGE = 100
"""Predictions of an image and class that count, best score first."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Predictions in the order in which COCO goes through them.

    Attributes:
        order: (C,) those that count, by class, then image id, then score, the best first;
            equal scores as in the file.
        rank: (C,) place in its image and class, from 0.
        starts: (K + 1,) where the classes begin in `order`.
    """

    order: NDArray[np.int64]
    rank: NDArray[np.int64]
    starts: NDArray[np.int64]


def rank_predictions(comparison: Comparison) -> Ranking:
    """The order of the predictions that count."""
    found = comparison.predictions
    order = np.lexsort((-found.score, found.image_id, found.label))  # stable
    label, image = found.label[order], found.image_id[order]
    known = (label >= 0) & (label < comparison.num_classes)
    first = np.ones(len(order), dtype=bool)
    first[1:] = (label[1:] != label[:-1]) | (image[1:] != image[:-1])
    begin = np.flatnonzero(first)
    rank = np.arange(len(order)) - np.repeat(begin, np.diff(np.append(begin, len(order))))
    counts = known & (rank < MOST_PER_IMAGE)
    order, rank = order[counts], rank[counts]
    starts = np.searchsorted(found.label[order], np.arange(comparison.num_classes + 1))
    return Ranking(order, rank, starts)


@dataclass(frozen=True, slots=True)
class Matches:
    """Partners of predictions.

    Attributes:
        partner: (D, T) int32 position among the annotations, -1 for none.
        ignored: (G,) bool annotations that are neither to be found nor wrong to be found:
            crowds, and those outside the range of sizes.
    """

    partner: NDArray[np.int32]
    ignored: NDArray[np.bool_]


def match(
    comparison: Comparison,
    ranking: Ranking,
    iou: NDArray[np.float64],
    area_range: tuple[float, float] = (0, 1e10),
) -> Matches:
    """Gives each prediction a free annotation of its class and image, best score first.

    It takes the one with the highest IoU that reaches the threshold, the last one of equals;
    one that is ignored only if there is no other. A crowd can be taken by many.

    Args:
        comparison: what overlaps.
        ranking: of its predictions.
        iou: (P,) of its pairs.
        area_range: smallest and largest area of an annotation that is not ignored.
    """
    annotations, pairs = comparison.annotations, comparison.pairs
    low, high = area_range
    ignored = annotations.crowd | (annotations.area < low) | (annotations.area > high)
    partner = np.full((len(comparison.predictions), len(IOU_THRESHOLDS)), -1, dtype=np.int32)
    taken = np.zeros((len(annotations), len(IOU_THRESHOLDS)), dtype=bool)
    thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)
    for prediction, chosen in _rounds(comparison, ranking, iou):
        annotation, overlap = pairs.annotation[chosen], iou[chosen][:, None]
        starts = np.flatnonzero(np.diff(prediction, prepend=-1))
        owner = np.cumsum(np.diff(prediction, prepend=prediction[0]) != 0)
        able = (~taken[annotation] | annotations.crowd[annotation][:, None]) & (
            overlap >= thresholds
        )  # (p, T)
        wanted = able & ~ignored[annotation][:, None]
        has_wanted = np.logical_or.reduceat(wanted, starts)  # (d, T)
        able &= wanted | ~has_wanted[owner]
        value = np.where(able, overlap, -1.0)
        best = np.maximum.reduceat(value, starts)
        last = np.where(able & (value == best[owner]), np.arange(len(value))[:, None], -1)
        last = np.maximum.reduceat(last, starts)  # (d, T)
        row, level = np.nonzero(last >= 0)
        partners = annotation[last[row, level]]
        partner[prediction[starts][row], level] = partners
        taken[partners, level] = True
    return Matches(partner, ignored)


def _rounds(
    comparison: Comparison, ranking: Ranking, iou: NDArray[np.float64]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Predictions (p,) and pairs (p,) of each round.

    A round holds at most one prediction of an image and class, and later rounds those of lower
    scores: within a round no two can want the same annotation.
    """
    pairs, found = comparison.pairs, comparison.predictions
    place = np.full(len(found), -1, dtype=np.int64)
    place[ranking.order] = np.arange(len(ranking.order))
    same = found.label[pairs.prediction] == comparison.annotations.label[pairs.annotation]
    chosen = np.flatnonzero(same & (iou >= IOU_THRESHOLDS[0]) & (place[pairs.prediction] >= 0))
    if not len(chosen):
        return []
    chosen = chosen[np.argsort(place[pairs.prediction[chosen]], kind="stable")]
    prediction = pairs.prediction[chosen].astype(np.int64)
    label, image = found.label[prediction], found.image_id[prediction]
    new_group = np.ones(len(chosen), dtype=bool)
    new_group[1:] = (label[1:] != label[:-1]) | (image[1:] != image[:-1])
    new = np.ones(len(chosen), dtype=bool)
    new[1:] = prediction[1:] != prediction[:-1]
    number = np.cumsum(new) - 1  # of the prediction among those with pairs
    first = np.flatnonzero(new_group)
    turn = number - np.repeat(number[first], np.diff(np.append(first, len(chosen))))
    by_turn = np.argsort(turn, kind="stable")
    ends = np.cumsum(np.bincount(turn))
    return [(prediction[part], chosen[part]) for part in np.split(by_turn, ends[:-1]) if len(part)]
