"""One image seen twice, as it is and mirrored.

Letters: N and M instances, h and w mask pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME_IOU = 0.5
"""IoU of their masks from which instances of both views are one."""


@dataclass(frozen=True, slots=True)
class View:
    """What was found in one view, masks at the stride of the model.

    Attributes:
        scores: (N,) float32, descending.
        labels: (N,) int64.
        boxes: (N, 4) float32 xyxy in input pixels, or None: they follow from the masks.
        soft_masks: (N, h, w) float32.
    """

    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float32] | None
    soft_masks: NDArray[np.float32]

    def __getitem__(self, index: NDArray[Any] | slice) -> View:
        """The chosen instances."""
        boxes = None if self.boxes is None else self.boxes[index]
        return View(self.scores[index], self.labels[index], boxes, self.soft_masks[index])


def mirror(view: View, width: int) -> View:
    """What was found in an input that was mirrored left to right, in the input itself.

    Args:
        view: of the mirrored input.
        width: of the input with its padding, pixels.
    """
    boxes = view.boxes
    if boxes is not None:
        boxes = np.stack(
            [width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1
        )
    return replace(view, boxes=boxes, soft_masks=view.soft_masks[:, :, ::-1])


def merge(a: View, b: View, threshold: float, conf: float) -> View:
    """The instances of both views.

    Those of one label whose masks overlap by `SAME_IOU` are paired, the best overlap first: score,
    box and soft mask are the mean of the two. An instance only one view has keeps half its score.

    Args:
        a: of the input.
        b: of the mirrored input, mirrored back.
        threshold: a soft mask above it is inside the instance.
        conf: lowest score that is kept.
    """
    iou = _ious(a, b, threshold)
    alone_a, alone_b = np.ones(len(a.scores), dtype=bool), np.ones(len(b.scores), dtype=bool)
    left, right = [], []
    for flat in np.argsort(-iou, axis=None, kind="stable").tolist():
        i, j = divmod(flat, len(b.scores))
        if iou[i, j] < SAME_IOU:
            break
        if alone_a[i] and alone_b[j]:
            left.append(i)
            right.append(j)
            alone_a[i] = alone_b[j] = False
    paired = _mean(a[np.array(left, dtype=int)], b[np.array(right, dtype=int)])
    rest = [_halved(view[np.flatnonzero(alone)]) for view, alone in ((a, alone_a), (b, alone_b))]
    every = _cat([paired, *rest])
    order = np.argsort(-every.scores, kind="stable")
    return every[order[every.scores[order] >= conf]]


def _ious(a: View, b: View, threshold: float) -> NDArray[np.float64]:
    """(N, M); 0 between different labels."""
    first, second = (
        (view.soft_masks > threshold)
        .reshape(len(view.scores), math.prod(view.soft_masks.shape[1:]))
        .astype(np.float32)
        for view in (a, b)
    )
    both = first @ second.T
    either = first.sum(1)[:, None] + second.sum(1)[None] - both
    same = a.labels[:, None] == b.labels[None]
    return np.where(same, both / np.maximum(either, 1), 0).astype(np.float64)


def _mean(a: View, b: View) -> View:
    half = np.float32(0.5)
    boxes = None if a.boxes is None or b.boxes is None else (a.boxes + b.boxes) * half
    soft_masks = (a.soft_masks + b.soft_masks) * half
    return View((a.scores + b.scores) * half, a.labels, boxes, soft_masks)


def _halved(view: View) -> View:
    return replace(view, scores=view.scores * np.float32(0.5))


def _cat(views: list[View]) -> View:
    boxes = [view.boxes for view in views if view.boxes is not None]
    return View(
        np.concatenate([view.scores for view in views]),
        np.concatenate([view.labels for view in views]),
        np.concatenate(boxes) if boxes else None,
        np.concatenate([view.soft_masks for view in views]),
    )


def suppress(view: View, threshold: float, iou: float) -> View:
    """Without each instance whose mask overlaps a better one of its label by more than `iou`."""
    ious = _ious(view, view, threshold)
    kept: list[int] = []
    for i in range(len(view.scores)):
        if not (ious[i, kept] > iou).any():
            kept.append(i)
    return view[np.array(kept, dtype=int)]
