"""Precision over recall.

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
