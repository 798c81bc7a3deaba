"""Precision over recall, and the score threshold that balances them.

Letters: K classes, R = 101 recall levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PrecisionRecall:
    """Precision of each class at the recall levels 0, 0.01 ... 1, as COCO interpolates it.

    Attributes:
        precision50: (K, R) at mask IoU 0.50; rows of -1 for classes without instances.
        precision75: (K, R) at mask IoU 0.75; rows of -1 for classes without instances.
        scores50: (K, R) score threshold that reaches the recall at IoU 0.50, 0 if none does.
    """

    precision50: NDArray[np.float64]
    precision75: NDArray[np.float64]
    scores50: NDArray[np.float64]

    @property
    def recall(self) -> NDArray[np.float64]:
        """(R,) the recall levels."""
        return np.linspace(0, 1, self.precision50.shape[1])

    def best_confidence(self) -> tuple[float, float]:
        """The score threshold with the highest F1 at IoU 0.50, and that F1.

        F1 = 2 P R / (P + R), averaged over the classes that have instances. Precision is
        COCO's interpolated one, so F1 is an upper estimate by at most a recall step.

        Returns:
            (threshold, F1), both in [0, 1]; (0, 0) without instances or without predictions.
        """
        defined = self.precision50[:, 0] > -1
        precision, scores = self.precision50[defined], self.scores50[defined]
        f1 = 2 * precision * self.recall / np.maximum(precision + self.recall, 1e-12)
        thresholds = np.unique(scores[precision > 0])[::-1]  # ties go to the higher threshold
        if not thresholds.size:
            return 0.0, 0.0
        total = np.zeros(len(thresholds))
        for class_f1, class_precision, class_scores in zip(f1, precision, scores, strict=True):
            # Scores fall as recall grows: the last level reached at a threshold counts.
            reached = class_scores[class_precision > 0]
            level = np.searchsorted(-reached, -thresholds, side="right")
            total += np.concatenate([[0.0], class_f1])[level]
        best = int(total.argmax())
        return float(thresholds[best]), float(total[best] / len(f1))
