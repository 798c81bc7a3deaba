"""How far the instances of an export are from those of PyTorch.

Letters: N and M instances of one image.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crispmask.types import Instances


@dataclass(frozen=True)
class Tolerance:
    """What still counts as equal; rounding differs between runtimes.

    Attributes:
        score: largest difference of an instance's score.
        iou: lowest IoU of its masks.
        share: least share of instances that are equal.
    """

    score: float
    iou: float
    share: float


FULL = Tolerance(score=0.002, iou=0.995, share=0.99)
HALF = Tolerance(score=0.05, iou=0.9, share=0.9)


@dataclass(frozen=True)
class Comparison:
    """Two runs over the same images.

    Attributes:
        num_images: images compared.
        num_expected: instances PyTorch finds.
        num_found: instances the export finds.
        num_missed: instances only one of them finds although its score is not at the limit.
        scores: (N,) difference of the score of each pair.
        boxes: (N,) largest difference of its boxes, pixels.
        ious: (N,) IoU of its masks.
        tolerance: what counts as equal.
    """

    num_images: int
    num_expected: int
    num_found: int
    num_missed: int
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    ious: NDArray[np.float64]
    tolerance: Tolerance

    @property
    def share(self) -> float:
        """Share of instances that are equal; 1 if there are none."""
        equal = (self.scores <= self.tolerance.score) & (self.ious >= self.tolerance.iou)
        total = len(self.ious) + self.num_missed
        return float(equal.sum() / total) if total else 1.0

    @property
    def agrees(self) -> bool:
        """Whether enough instances are equal."""
        return self.share >= self.tolerance.share

    def in_words(self) -> str:
        """One line."""
        if not self.num_expected and not self.num_found:
            return "nothing found in any of them, by PyTorch or the export"
        worst = (
            f"largest difference of a score {self.scores.max():.1e}, of a box "
            f"{self.boxes.max():.1e} px, lowest mask IoU {self.ious.min():.4f}; "
            if len(self.ious)
            else ""
        )
        return (
            f"{self.num_expected} instances by PyTorch, {self.num_found} by the export; {worst}"
            f"{self.share:.1%} equal (score within {self.tolerance.score:g}, mask IoU from "
            f"{self.tolerance.iou:g})"
        )


def compare(
    pairs: Iterable[tuple[Instances, Instances]], conf: float, max_det: int, tolerance: Tolerance
) -> Comparison:
    """Compares what PyTorch and an export find in the same images.

    Instances are paired by label, mask and score, not by rank: scores that are nearly equal may
    swap places.

    Args:
        pairs: instances by PyTorch and by the export, of each image.
        conf: lowest score both return; near it one of them may miss an instance.
        max_det: most instances both return; likewise.
        tolerance: what counts as equal.
    """
    num_images, num_expected, num_found, num_missed = 0, 0, 0, 0
    scores, boxes, ious = [], [], []
    for expected, found in pairs:
        num_images += 1
        num_expected += len(expected)
        num_found += len(found)
        i, j, iou = _match(expected, found)
        ious.append(iou)
        scores.append(np.abs(expected.scores[i].astype(np.float64) - found.scores[j]))
        boxes.append(
            np.abs(expected.boxes[i].astype(np.float64) - found.boxes[j]).max(1, initial=0)
        )
        for instances, matched in ((expected, i), (found, j)):
            floor = conf
            if len(instances) == max_det:  # cut off at a score of its own
                floor = max(floor, float(instances.scores[-1]))
            alone = np.delete(instances.scores, matched)
            num_missed += int((alone > floor + tolerance.score).sum())
    return Comparison(
        num_images,
        num_expected,
        num_found,
        num_missed,
        np.concatenate([np.zeros(0), *scores]),
        np.concatenate([np.zeros(0), *boxes]),
        np.concatenate([np.zeros(0), *ious]),
        tolerance,
    )


def _match(
    a: Instances, b: Instances
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Indices into a and b of instances that belong together, and the IoU of their masks."""
    left, right, ious = [], [], []
    free = np.ones(len(b), dtype=bool)
    for i in range(len(a)):
        near = np.flatnonzero(
            free & (b.labels == a.labels[i]) & (np.abs(b.scores - a.scores[i]) < 0.2)
        )
        if not len(near):
            continue
        iou = np.array([_iou(a.masks[i], b.masks[j]) for j in near])
        best = int(np.argmax(iou - np.abs(b.scores[near] - a.scores[i])))
        if iou[best] > 0.5:
            left.append(i)
            right.append(near[best])
            ious.append(iou[best])
            free[near[best]] = False
    return np.array(left, dtype=int), np.array(right, dtype=int), np.array(ious, dtype=float)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    either = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / either if either else 1.0
