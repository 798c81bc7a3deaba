"""Precision, recall and F1 over the score threshold, and whether scores mean what they say.

A prediction is right if it is matched at mask IoU 0.50 as COCO matches; predictions matched with
a crowd do not count. Letters: K classes, S thresholds, B bins, n predictions that count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.comparison import Comparison
from crispmask.metrics.matching import Ranking

THRESHOLDS = np.linspace(0, 1, 1001)
"""(S,) at which the curves are given."""

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """Predictions that count, best score first, equal scores as COCO orders them.

    Attributes:
        label: (n,) class.
        score: (n,) descending.
        right: (n,) bool, whether it found an instance.
        wanted: (K,) instances to be found.
    """

    label: NDArray[np.int64]
    score: NDArray[np.float64]
    right: NDArray[np.bool_]
    wanted: NDArray[np.int64]


def judge(comparison: Comparison, ranking: Ranking, partner: NDArray[np.int32]) -> Judged:
    """Which predictions are right.

    Args:
        comparison: what overlaps.
        ranking: of its predictions.
        partner: (D,) annotation each is matched with, -1 for none.
    """
    found, annotations = comparison.predictions, comparison.annotations
    order = ranking.order[np.argsort(-found.score[ranking.order], kind="stable")]
    mine = partner[order]
    matched = mine >= 0
    in_crowd = matched.copy()
    in_crowd[matched] = annotations.crowd[mine[matched]]
    order, matched = order[~in_crowd], matched[~in_crowd]
    wanted = np.bincount(annotations.label[~annotations.crowd], minlength=comparison.num_classes)
    return Judged(found.label[order], found.score[order], matched, wanted.astype(np.int64))


@dataclass(frozen=True, slots=True)
class Best:
    """The score threshold with the highest F1; all zero without a right prediction.

    Attributes:
        confidence: predictions with at least this score count.
        f1: 2 P R / (P + R).
        precision: share of the predictions that are right.
        recall: share of the instances that are found.
    """

    confidence: float
    f1: float
    precision: float
    recall: float

    def to_json(self, prefix: str) -> dict[str, float]:
        """The numbers under the keys of metrics.json."""
        return {
            f"{prefix}/confidence": self.confidence,
            f"{prefix}/F1": self.f1,
            f"{prefix}/precision": self.precision,
            f"{prefix}/recall": self.recall,
        }


@dataclass(frozen=True, slots=True)
class ConfidenceCurves:
    """What a score threshold does, class by class.

    Attributes:
        precision: (K, S) at `THRESHOLDS`; 1 where nothing is predicted.
        recall: (K, S); 0 for a class without instances.
        f1: (K, S).
        defined: (K,) bool, classes with instances.
        best: of the mean F1 of the classes with instances; its precision and recall are means.
        class_best: of each class.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    defined: NDArray[np.bool_]
    best: Best
    class_best: tuple[Best, ...]


def confidence_curves(judged: Judged) -> ConfidenceCurves:
    """The curves and their best points; the latter at exact scores, not at `THRESHOLDS`."""
    K = len(judged.wanted)
    parts = [judged.label == label for label in range(K)]
    classes = [
        _Class(judged.score[part], judged.right[part], int(wanted))
        for part, wanted in zip(parts, judged.wanted, strict=True)
    ]
    precision, recall, f1 = (
        (
            np.array(rows).reshape(K, len(THRESHOLDS))
            for rows in zip(*(c.at(THRESHOLDS) for c in classes), strict=True)
        )
        if K
        else (np.zeros((0, len(THRESHOLDS))),) * 3
    )
    return ConfidenceCurves(
        precision,
        recall,
        f1,
        judged.wanted > 0,
        _best([c for c in classes if c.wanted]),
        tuple(_best([c]) if c.wanted else Best(0, 0, 0, 0) for c in classes),
    )


class _Class:
    """Counts of one class as steps over the threshold.

    Args:
        score: (m,) descending.
        right: (m,)
        wanted: instances to be found.
    """

    def __init__(self, score: NDArray[np.float64], right: NDArray[np.bool_], wanted: int) -> None:
        self.score = score
        self.wanted = wanted
        self.hits = np.concatenate([[0], np.cumsum(right)])  # (m + 1,) of the first 0, 1 ... m

    def at(
        self, thresholds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Precision, recall and F1 (S,) of the predictions with at least each score."""
        count = np.searchsorted(-self.score, -thresholds, side="right")
        hits = self.hits[count]
        precision = np.where(count > 0, hits / np.maximum(count, 1), 1.0)
        recall = hits / max(self.wanted, 1)
        return precision, recall, 2 * hits / np.maximum(count + self.wanted, 1)


def _best(classes: Sequence[_Class]) -> Best:
    """The threshold with the highest mean F1; of equal ones the highest."""
    own = [np.unique(one.score)[::-1] for one in classes]
    scores = np.concatenate([np.zeros(0), *own])
    # The F1 of a class changes at its own scores only: all changes, best score first, add up.
    changes = [
        np.diff(one.at(mine)[2], prepend=0.0) for one, mine in zip(classes, own, strict=True)
    ]
    order = np.argsort(-scores, kind="stable")
    scores, total = scores[order], np.cumsum(np.concatenate([np.zeros(0), *changes])[order])
    whole = np.append(scores[1:] != scores[:-1], True)[: len(scores)]  # all of equal scores in
    scores, total = scores[whole], total[whole]
    if not len(scores) or total.max() <= 0:
        return Best(0, 0, 0, 0)
    confidence = scores[int(np.argmax(total > total.max() - 1e-12))]
    values = np.array([one.at(np.array([confidence])) for one in classes])[:, :, 0]  # (k, 3)
    precision, recall, f1 = values.mean(axis=0).tolist()
    return Best(float(confidence), f1, precision, recall)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Expected against observed precision, in bins of the score.

    Attributes:
        count: (B,) predictions with a score in [b / B, (b + 1) / B), 1 in the last.
        expected: (B,) their mean score, 0 in an empty bin.
        observed: (B,) share of them that is right, 0 in an empty bin.
        error: expected calibration error: the mean over predictions of the distance of the two;
            0 without predictions. Source: arXiv:1706.04599, for detections arXiv:2004.13546.
    """

    count: NDArray[np.int64]
    expected: NDArray[np.float64]
    observed: NDArray[np.float64]
    error: float

    def to_json(self) -> dict[str, Any]:
        """The numbers under their keys of metrics.json."""
        return {
            "calibration/ECE": self.error,
            "calibration/count": self.count.tolist(),
            "calibration/expected": self.expected.tolist(),
            "calibration/observed": self.observed.tolist(),
        }


def calibrate(judged: Judged, num_bins: int = NUM_BINS) -> Calibration:
    """How far scores are from the share of predictions that is right."""
    bins = np.clip((judged.score * num_bins).astype(np.int64), 0, num_bins - 1)
    count = np.bincount(bins, minlength=num_bins)
    each = np.maximum(count, 1)
    expected = np.bincount(bins, judged.score, num_bins) / each
    observed = np.bincount(bins, judged.right, num_bins) / each
    error = float((count * abs(expected - observed)).sum() / max(count.sum(), 1))
    return Calibration(count.astype(np.int64), expected, observed, error)
