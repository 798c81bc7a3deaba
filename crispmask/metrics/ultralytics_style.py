"""Mask AP as users of Ultralytics know it, to compare with numbers they have; not COCO's.

It differs from COCO in four ways: masks are compared at a quarter of the size of the network's
input; where annotations overlap, the smaller one on top takes the pixels; a prediction takes the
annotation it overlaps most, free or not, and of those that take one the best score is right;
precision is interpolated linearly between recalls. Up to 300 predictions per image count, and
crowds are left out. Written from the behaviour of release 8.4.

Letters: D predictions and G annotations of an image, T IoU thresholds, K classes, h and w pixels
of the quarter grid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.geometry.letterbox import fit_size
from crispmask.geometry.mask_runs import MaskRuns, read_rles
from crispmask.metrics.columns import Columns
from crispmask.metrics.comparison import Row
from crispmask.metrics.matching import IOU_THRESHOLDS
from crispmask.metrics.overlaps import to_rle
from crispmask.types import Size

MOST_PER_IMAGE = 300
"""Predictions of an image that count, best score first."""

LOWEST_SCORE = 0.001

STRIDE = 4
"""Input pixels per pixel masks are compared at."""

RECALL_LEVELS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True)
class UltralyticsStyle:
    """Mask AP in the manner of Ultralytics, in [0, 1]; -1 without annotations.

    Attributes:
        map50_95: mean over the annotated classes and IoU 0.50, 0.55 ... 0.95.
        map50: the same at IoU 0.50 alone.
        imgsz: longest side of the input whose quarter was compared at, pixels.
    """

    map50_95: float
    map50: float
    imgsz: int

    def to_json(self) -> dict[str, float]:
        """The numbers under the keys of metrics.json."""
        return {
            "ultralytics_style/mAP50-95": self.map50_95,
            "ultralytics_style/mAP50": self.map50,
            "ultralytics_style/imgsz": self.imgsz,
        }


class StyleComparer:
    """Gathers the figures image after image; keeps a few numbers of each prediction.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`; not changed.
        num_classes: K; the category id of a label is label + 1.
        imgsz: longest side of the input, pixels.
    """

    def __init__(self, ground_truth: Mapping[str, Any], num_classes: int, imgsz: int) -> None:
        self.num_classes = num_classes
        self.imgsz = imgsz
        self._sizes = {
            int(image["id"]): (int(image["height"]), int(image["width"]))
            for image in ground_truth["images"]
        }
        self._annotated: defaultdict[int, list[Row]] = defaultdict(list)
        for row in ground_truth["annotations"]:
            if not row.get("iscrowd", 0):
                self._annotated[row["image_id"]].append(row)
        self._found = Columns(np.int64, np.float64, np.bool_)

    def add(self, image_id: int, rows: Sequence[Row]) -> None:
        """Compares all predictions of one image with its annotations.

        Args:
            image_id: of the ground truth.
            rows: its rows of a COCO results file with masks as compressed RLE.
        """
        kept = sorted(
            (row for row in rows if row["score"] >= LOWEST_SCORE), key=lambda row: -row["score"]
        )[:MOST_PER_IMAGE]
        if not kept:
            return
        mine = self._annotated.get(image_id, [])
        truths = np.array([row["category_id"] - 1 for row in mine], dtype=np.int64)
        label = np.array([row["category_id"] - 1 for row in kept], dtype=np.int64)
        iou = _image_iou(kept, mine, self._sizes[image_id], self.imgsz)
        right = match_by_overlap(iou * (label[:, None] == truths[None]))  # (D, T)
        self._found.add(label, np.array([row["score"] for row in kept]), right)

    def finish(self) -> UltralyticsStyle:
        """The figures of all that was added."""
        annotated = [r["category_id"] - 1 for rows in self._annotated.values() for r in rows]
        wanted = np.bincount(np.array(annotated, dtype=np.int64), minlength=self.num_classes)
        labels, scores, right = self._found.arrays()
        order = np.argsort(-scores, kind="stable")
        label, hit = labels[order], right.reshape(-1, len(IOU_THRESHOLDS))[order]
        aps = np.array(
            [
                interpolated_ap(hit[label == k], int(wanted[k]))
                for k in range(self.num_classes)
                if wanted[k]
            ]
        ).reshape(-1, len(IOU_THRESHOLDS))
        if not len(aps):
            return UltralyticsStyle(-1.0, -1.0, self.imgsz)
        return UltralyticsStyle(float(aps.mean()), float(aps[:, 0].mean()), self.imgsz)


def quarter_masks(masks: MaskRuns, imgsz: int) -> NDArray[np.bool_]:
    """Masks (N, h, w) at the centres of the pixels of a quarter of the letterboxed input.

    Args:
        masks: at the size of the image file.
        imgsz: longest side of the input, pixels.
    """
    height, width = masks.size
    resized = fit_size(masks.size, imgsz)
    h, w = (max(1, round(side / STRIDE)) for side in resized)
    rows = ((np.arange(h) + 0.5) * height / h).astype(np.int64)
    columns = ((np.arange(w) + 0.5) * width / w).astype(np.int64)
    small = np.zeros((len(masks), h, w), dtype=np.bool_)
    for i, mask in enumerate(small):
        box = masks.extent(i)
        if box is None:
            continue
        x1, y1, x2, y2 = box
        top, bottom = np.searchsorted(rows, (y1, y2))
        left, right = np.searchsorted(columns, (x1, x2))
        pixels = masks.crop(i, box)
        mask[top:bottom, left:right] = pixels[rows[top:bottom, None] - y1, columns[left:right] - x1]
    return small


def match_by_overlap(iou: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each prediction is right at each threshold, (D, T).

    Args:
        iou: (D, G) with annotations, best score first; 0 for other classes.
    """
    right = np.zeros((len(iou), len(IOU_THRESHOLDS)), dtype=np.bool_)
    if not iou.size:
        return right
    partner, best = iou.argmax(axis=1), iou.max(axis=1)
    for level, threshold in enumerate(IOU_THRESHOLDS):
        enough = np.flatnonzero(best >= threshold)
        first = np.unique(partner[enough], return_index=True)[1]
        right[enough[first], level] = True
    return right


def interpolated_ap(right: NDArray[np.bool_], wanted: int) -> NDArray[np.float64]:
    """Area (T,) under the precision, linear between recalls, sampled at 101 of them.

    Precision is 1 before the first prediction, 0 beyond the highest recall reached, and never
    below that of a higher recall.

    Args:
        right: (n, T) of one class, best score first.
        wanted: its annotations, at least one.
    """
    ap = np.zeros(right.shape[1])
    if not len(right):
        return ap
    hits = np.cumsum(right, axis=0)
    recall = hits / wanted
    precision = hits / np.arange(1, len(right) + 1)[:, None]
    for level in range(right.shape[1]):
        x = np.concatenate([[0.0], recall[:, level], [recall[-1, level], 1.0]])
        y = np.concatenate([[1.0], precision[:, level], [0.0, 0.0]])
        y = np.maximum.accumulate(y[::-1])[::-1]
        heights = np.interp(RECALL_LEVELS, x, y)
        ap[level] = ((heights[1:] + heights[:-1]) / 2 * np.diff(RECALL_LEVELS)).sum()
    return ap


def _image_iou(
    found: Sequence[Row], annotated: Sequence[Row], size: Size, imgsz: int
) -> NDArray[np.float64]:
    """IoU (D, G) on the quarter grid."""
    if not annotated:
        return np.zeros((len(found), 0))
    rles = [to_rle(row["segmentation"], size) for row in annotated]
    truths = _without_overlap(quarter_masks(read_rles(rles), imgsz))
    masks = quarter_masks(read_rles([row["segmentation"] for row in found]), imgsz)
    a = masks.reshape(len(masks), -1).astype(np.float32)
    b = truths.reshape(len(truths), -1).astype(np.float32)
    shared = (a @ b.T).astype(np.float64)
    union = a.sum(1, dtype=np.float64)[:, None] + b.sum(1, dtype=np.float64)[None] - shared
    return shared / np.maximum(union, 1)


def _without_overlap(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Masks (G, h, w) of which each pixel belongs to the smallest one alone."""
    owner = np.full(masks.shape[1:], -1, dtype=np.int64)
    for i in np.argsort(-masks.sum(axis=(1, 2)), kind="stable"):
        owner[masks[i]] = i
    return owner[None] == np.arange(len(masks))[:, None, None]
