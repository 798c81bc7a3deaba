"""Which class is taken for which other one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.comparison import Comparison


def confusion_matrix(
    comparison: Comparison, conf: float = 0.25, iou: float = 0.5
) -> NDArray[np.int64]:
    """Counts pairs of annotated and predicted class, masks compared at native size.

    Predictions of an image, best score first, each take the free annotation of any class
    with the highest mask IoU, if that is at least `iou`. Crowd annotations are no instances;
    a prediction without a partner that lies in one, by at least `iou` of its own area, is
    not counted.

    Args:
        comparison: what overlaps; K classes.
        conf: lowest score of a prediction that counts.
        iou: lowest mask IoU of a pair, at least `overlaps.LOWEST_IOU`.

    Returns:
        (K + 1, K + 1). Row: annotated class, column: predicted class. The last row counts
        predictions without annotation, the last column annotations without prediction.
    """
    found, annotations, K = comparison.predictions, comparison.annotations, comparison.num_classes
    partner, in_crowd = match_any_class(comparison, conf, iou)
    rows, columns = np.append(annotations.label, K), np.append(found.label, K)
    matrix = np.zeros((K + 1, K + 1), dtype=np.int64)
    matched = np.flatnonzero(partner >= 0)
    np.add.at(matrix, (rows[partner[matched]], columns[matched]), 1)
    alone = (found.score >= conf) & (partner < 0) & ~in_crowd
    matrix[K] += np.bincount(columns[:-1][alone], minlength=K + 1)
    missed = ~annotations.crowd
    missed[partner[matched]] = False
    matrix[:, K] += np.bincount(rows[:-1][missed], minlength=K + 1)
    return matrix


def match_any_class(
    comparison: Comparison, conf: float, iou: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Annotation (D,) each prediction takes, -1 for none, and whether it lies in a crowd (D,).

    Args:
        comparison: what overlaps.
        conf: lowest score of a prediction that takes one.
        iou: lowest mask IoU of a pair.
    """
    found, annotations, pairs = comparison.predictions, comparison.annotations, comparison.pairs
    partner = np.full(len(found), -1, dtype=np.int64)
    in_crowd = np.zeros(len(found), dtype=bool)
    near = pairs.mask_iou >= iou
    crowd = annotations.crowd[pairs.annotation]
    in_crowd[pairs.prediction[near & crowd]] = True
    chosen = np.flatnonzero(near & ~crowd & (found.score[pairs.prediction] >= conf))
    # Best score first, then as in the file, then best IoU; equal IoU: the first annotation.
    prediction = pairs.prediction[chosen]
    order = np.lexsort((-pairs.mask_iou[chosen], prediction, -found.score[prediction]))
    taken = np.zeros(len(annotations), dtype=bool)
    for pair in chosen[order]:
        i, j = pairs.prediction[pair], pairs.annotation[pair]
        if partner[i] < 0 and not taken[j]:
            partner[i] = j
            taken[j] = True
    return partner, in_crowd
