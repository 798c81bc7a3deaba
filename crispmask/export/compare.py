"""How far the instances of an export are from those of PyTorch.

Letters: N and M instances of one image.
"""

from __future__ import annotations

import math
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
        box: largest difference of a side of its box, pixels. A box around a mask is as equal as
            the mask: there it is infinite, a single pixel far away would count.
        iou: lowest IoU of its masks.
        share: least share of instances that are equal.
    """

    score: float
    box: float
    iou: float
    share: float


FULL = Tolerance(score=0.002, box=1, iou=0.995, share=0.99)
HALF = Tolerance(score=0.05, box=8, iou=0.9, share=0.9)

LIKE = 0.5
"""Mean IoU of masks and of boxes from which two instances of one label can be a pair."""

CHUNK_PIXELS = 1 << 18
"""Pixels of each mask that are multiplied at a time."""


@dataclass(frozen=True)
class Comparison:
    """Two runs over the same images.

    Attributes:
        num_images: images compared.
        num_expected: instances PyTorch finds.
        num_found: instances the export finds.
        num_unpaired: instances only one of them finds.
        num_excused: those of them whose score is at the limit: rounding decides about them.
        scores: (N,) difference of the score of each pair.
        boxes: (N,) largest difference of its boxes, pixels.
        ious: (N,) IoU of its masks.
        tolerance: what counts as equal.
    """

    num_images: int
    num_expected: int
    num_found: int
    num_unpaired: int
    num_excused: int
    scores: NDArray[np.float64]
    boxes: NDArray[np.float64]
    ious: NDArray[np.float64]
    tolerance: Tolerance

    @property
    def num_counted(self) -> int:
        """Pairs, and instances that should have one."""
        return len(self.ious) + self.num_unpaired - self.num_excused

    @property
    def num_equal(self) -> int:
        """Pairs that are equal."""
        limit = self.tolerance
        equal = (self.scores <= limit.score) & (self.boxes <= limit.box) & (self.ious >= limit.iou)
        return int(equal.sum())

    @property
    def share(self) -> float:
        """Share of instances that are equal; 1 if there are none."""
        return self.num_equal / self.num_counted if self.num_counted else 1.0

    @property
    def agrees(self) -> bool:
        """Whether enough instances are equal."""
        return self.share >= self.tolerance.share

    def in_words(self) -> str:
        """One line."""
        if not self.num_expected and not self.num_found:
            return "nothing found in any of them, by PyTorch or the export"
        parts = [f"{self.num_expected} instances by PyTorch, {self.num_found} by the export"]
        pairs = f"{len(self.ious)} pairs"
        if len(self.ious):
            pairs += (
                f" with largest difference of a score {self.scores.max():.1e}, of a box "
                f"{self.boxes.max():.1e} px, lowest mask IoU {self.ious.min():.4f}"
            )
        parts.append(pairs)
        if self.num_unpaired:
            excused = f", {self.num_excused} at the limit of the score" if self.num_excused else ""
            parts.append(f"{self.num_unpaired} found by one alone{excused}")
        limit = self.tolerance
        box = f"box within {limit.box:g} px, " if np.isfinite(limit.box) else ""
        parts.append(
            f"{self.num_equal} of {self.num_counted} equal (score within {limit.score:g}, {box}"
            f"mask IoU from {limit.iou:g})"
        )
        return "; ".join(parts)


def compare(
    pairs: Iterable[tuple[Instances, Instances]], conf: float, max_det: int, tolerance: Tolerance
) -> Comparison:
    """Compares what PyTorch and an export find in the same images.

    Instances are paired one to one by label and by how far masks and boxes overlap, not by rank:
    scores that are nearly equal may swap places.

    Args:
        pairs: instances by PyTorch and by the export, of each image.
        conf: lowest score both return; near it one of them may miss an instance.
        max_det: most instances both return; likewise.
        tolerance: what counts as equal.
    """
    num_images, num_expected, num_found, num_unpaired, num_excused = 0, 0, 0, 0, 0
    scores, boxes, ious = [], [], []
    for expected, found in pairs:
        num_images += 1
        num_expected += len(expected)
        num_found += len(found)
        i, j, iou = _match(expected, found)
        score = np.abs(expected.scores[i].astype(np.float64) - found.scores[j])
        box = np.abs(expected.boxes[i].astype(np.float64) - found.boxes[j]).max(1, initial=0)
        at_limit = [_at_limit(x, conf, max_det, tolerance) for x in (expected, found)]
        # Of equal scores at the limit either may have kept others, which only look like a pair.
        others = (box > tolerance.box) | (iou < tolerance.iou)
        others &= (score <= tolerance.score) & at_limit[0][i] & at_limit[1][j]
        i, j, iou, score, box = (x[~others] for x in (i, j, iou, score, box))
        ious.append(iou)
        scores.append(score)
        boxes.append(box)
        for limited, matched in zip(at_limit, (i, j), strict=True):
            alone = np.delete(limited, matched)
            num_unpaired += len(alone)
            num_excused += int(alone.sum())
    return Comparison(
        num_images,
        num_expected,
        num_found,
        num_unpaired,
        num_excused,
        np.concatenate([np.zeros(0), *scores]),
        np.concatenate([np.zeros(0), *boxes]),
        np.concatenate([np.zeros(0), *ious]),
        tolerance,
    )


def _at_limit(
    instances: Instances, conf: float, max_det: int, tolerance: Tolerance
) -> NDArray[np.bool_]:
    """(N,) whether rounding decides if an instance is among those that are returned."""
    floor = conf
    if len(instances) == max_det:  # cut off at a score of its own
        floor = max(floor, float(instances.scores[-1]))
    # Relative: of a network that believes in nothing all scores are near the limit.
    return instances.scores <= floor * (1 + tolerance.score)


def _match(
    a: Instances, b: Instances
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Indices into a and b of instances that belong together, and the IoU of their masks.

    Masks alone do not tell them apart: those of an untrained network may all be empty or full.
    """
    ious = _mask_ious(a.masks, b.masks)
    like = (ious + _box_ious(a.boxes, b.boxes)) / 2
    like[a.labels[:, None] != b.labels[None]] = 0
    closeness = like - np.abs(a.scores[:, None].astype(np.float64) - b.scores[None])
    left, right = np.ones(len(a), dtype=bool), np.ones(len(b), dtype=bool)
    pairs = []
    for flat in np.argsort(-closeness, axis=None, kind="stable").tolist():
        i, j = divmod(flat, len(b))
        if left[i] and right[j] and like[i, j] > LIKE:
            left[i] = right[j] = False
            pairs.append((i, j))
    i, j = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
    return i, j, ious[i, j]


def _mask_ious(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, M); 1 of two empty masks."""
    first, second = (x.reshape(len(x), math.prod(x.shape[1:])) for x in (a, b))
    both = np.zeros((len(a), len(b)))
    for start in range(0, first.shape[1], CHUNK_PIXELS):
        some = slice(start, start + CHUNK_PIXELS)
        both += first[:, some].astype(np.float32) @ second[:, some].astype(np.float32).T
    sums = (np.count_nonzero(x, axis=1).astype(np.float64) for x in (first, second))
    return _ratio(both, *sums)


def _box_ious(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, M); 1 of two boxes without area."""
    first, second = a.astype(np.float64), b.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    areas = ((x[:, 2:] - x[:, :2]).prod(1) for x in (first, second))
    return _ratio((high - low).clip(min=0).prod(2), *areas)


def _ratio(
    both: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    either = first[:, None] + second[None] - both
    return np.divide(both, either, out=np.ones_like(both), where=either > 0)
