"""COCO average precision of masks and boxes, equal to pycocotools on the same files.

Letters: K classes, T IoU thresholds, R = 101 recall levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.average_precision import LIMITS, Accumulated, accumulate
from crispmask.metrics.comparison import Comparer, Comparison, Row, compare
from crispmask.metrics.confidence import (
    Calibration,
    ConfidenceCurves,
    calibrate,
    confidence_curves,
    judge,
)
from crispmask.metrics.curves import PrecisionRecall
from crispmask.metrics.matching import rank_predictions
from crispmask.metrics.ultralytics_style import StyleComparer, UltralyticsStyle

SIZES = ("small", "medium", "large")


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary numbers of one kind of overlap, in [0, 1], or -1 where COCO has no answer.

    Sizes are small below 32 x 32 pixels, large above 96 x 96, medium between.

    Attributes:
        map50_95: mean over classes and IoU 0.50, 0.55 ... 0.95 of the average precision.
        map50: the same at IoU 0.50 alone.
        map75: the same at IoU 0.75 alone.
        map_by_size: of small, medium and large instances.
        ar: mean recall with at most 1, 10 and 100 predictions per image and class.
        ar_by_size: with at most 100, of small, medium and large instances.
        class_ap: (K,) `map50_95` of each class.
        class_ap50: (K,) `map50` of each class.
        class_ap75: (K,) `map75` of each class.
        class_ar: (K,) recall of each class with at most 100 predictions per image.
    """

    map50_95: float
    map50: float
    map75: float
    map_by_size: tuple[float, float, float]
    ar: tuple[float, float, float]
    ar_by_size: tuple[float, float, float]
    class_ap: NDArray[np.float64]
    class_ap50: NDArray[np.float64]
    class_ap75: NDArray[np.float64]
    class_ar: NDArray[np.float64]

    @property
    def ar100(self) -> float:
        """The last of `ar`, the one of metrics.json that is mostly meant."""
        return self.ar[2]

    def to_json(self, prefix: str) -> dict[str, float]:
        """The numbers over all classes under the keys of metrics.json."""
        return {
            f"{prefix}/mAP50-95": self.map50_95,
            f"{prefix}/mAP50": self.map50,
            f"{prefix}/mAP75": self.map75,
            **{f"{prefix}/mAP_{size}": v for size, v in zip(SIZES, self.map_by_size, strict=True)},
            **{f"{prefix}/AR{most}": v for most, v in zip(LIMITS, self.ar, strict=True)},
            **{f"{prefix}/AR_{size}": v for size, v in zip(SIZES, self.ar_by_size, strict=True)},
        }

    def class_json(self, prefix: str, label: int) -> dict[str, float]:
        """The numbers of one class under their keys."""
        return {
            f"{prefix}/mAP50-95": float(self.class_ap[label]),
            f"{prefix}/mAP50": float(self.class_ap50[label]),
            f"{prefix}/mAP75": float(self.class_ap75[label]),
            f"{prefix}/AR100": float(self.class_ar[label]),
        }


@dataclass(frozen=True, slots=True)
class CocoMetrics:
    """COCO metrics of a set of predictions.

    Attributes:
        names: class names by label.
        mask: overlap measured between masks.
        box: overlap measured between boxes.
        num_instances: (K,) annotated instances of each class, crowds not counted.
        curves: precision over recall of the masks.
        confidence: what a threshold on the score does, at mask IoU 0.50.
        calibration: whether the score is the share of predictions that is right.
        boundary: overlap measured between boundaries, and at most that of the masks; None if
            it was not computed. Source: Boundary IoU, arXiv:2103.16562.
        ultralytics_style: for users who compare with what they know; None likewise.
    """

    names: tuple[str, ...]
    mask: Summary
    box: Summary
    num_instances: NDArray[np.int64]
    curves: PrecisionRecall
    confidence: ConfidenceCurves
    calibration: Calibration
    boundary: Summary | None = None
    ultralytics_style: UltralyticsStyle | None = None

    def to_json(self) -> dict[str, Any]:
        """What metrics.json holds."""
        kinds = {"mask": self.mask, "box": self.box}
        if self.boundary:
            kinds["boundary"] = self.boundary
        values: dict[str, Any] = {}
        for prefix, summary in kinds.items():
            values |= summary.to_json(prefix)
        if self.ultralytics_style:
            values |= self.ultralytics_style.to_json()
        values |= self.confidence.best.to_json("best")
        values |= self.calibration.to_json()
        values["per_class"] = {
            name: {
                **{
                    key: value
                    for prefix, summary in kinds.items()
                    for key, value in summary.class_json(prefix, label).items()
                },
                **self.confidence.class_best[label].to_json("best"),
                "instances": int(self.num_instances[label]),
            }
            for label, name in enumerate(self.names)
        }
        return values


def evaluate_coco(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Row],
    names: Sequence[str],
    boundary: bool = False,
) -> CocoMetrics:
    """COCO metrics of predictions; neither argument is changed.

    As in pycocotools, the size range of a prediction that has a `bbox` goes by the area of
    that box, also where masks are compared; the size range of an annotation goes by its
    `area`. At most 100 predictions per image and class count.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`, `categories`.
        predictions: rows of a COCO results file with `bbox` and `segmentation`.
        names: class names by label; the category id of a label is label + 1.
        boundary: whether Boundary AP is computed, too.
    """
    comparison = compare(ground_truth, predictions, len(names), boundary)
    return measure(comparison, names)


def measure_fully(
    ground_truth: Mapping[str, Any],
    found: Iterable[tuple[int, Sequence[Row]]],
    names: Sequence[str],
    imgsz: int,
    area_of_box: bool = True,
) -> tuple[CocoMetrics, Comparison]:
    """All that metrics.json holds, and what it was computed from; no argument is changed.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`, `categories`.
        found: image id and rows of a COCO results file, with `bbox` and compressed masks, of each
            image once; they are not kept.
        names: class names by label; the category id of a label is label + 1.
        imgsz: longest side of the network's input, whose quarter Ultralytics compares at.
        area_of_box: whether the size of a prediction is that of its box, or of its mask.
    """
    comparer = Comparer(ground_truth, len(names), True, area_of_box)
    style = StyleComparer(ground_truth, len(names), imgsz)
    for image_id, rows in found:
        comparer.add(image_id, rows)
        style.add(image_id, rows)
    comparison = comparer.finish()
    return replace(measure(comparison, names), ultralytics_style=style.finish()), comparison


def measure(comparison: Comparison, names: Sequence[str]) -> CocoMetrics:
    """COCO metrics of what overlaps; Boundary AP where the comparison has boundary IoU.

    Args:
        comparison: predictions beside annotations.
        names: class names by label.
    """
    ranking = rank_predictions(comparison)
    pairs = comparison.pairs
    masks = accumulate(comparison, ranking, pairs.mask_iou)
    judged = judge(comparison, ranking, masks.partner[:, 0])
    return CocoMetrics(
        names=tuple(names),
        mask=_summarise(masks),
        box=_summarise(accumulate(comparison, ranking, pairs.box_iou)),
        num_instances=judged.wanted,
        curves=PrecisionRecall(
            precision50=masks.precision[0, :, :, 0].T,
            precision75=masks.precision[5, :, :, 0].T,
            scores50=masks.scores[0, :, :, 0].T,
        ),
        confidence=confidence_curves(judged),
        calibration=calibrate(judged),
        boundary=None
        if pairs.boundary_iou is None
        else _summarise(accumulate(comparison, ranking, pairs.boundary_iou)),
    )


def _summarise(result: Accumulated) -> Summary:
    everywhere = result.precision[..., 0]  # (T, R, K)
    return Summary(
        map50_95=_mean_defined(everywhere),
        map50=_mean_defined(everywhere[0]),
        map75=_mean_defined(everywhere[5]),
        map_by_size=_three(_mean_defined(result.precision[..., a]) for a in (1, 2, 3)),
        ar=_three(_mean_defined(result.recall[:, :, 0, limit]) for limit in (0, 1, 2)),
        ar_by_size=_three(_mean_defined(result.recall[:, :, a, 2]) for a in (1, 2, 3)),
        class_ap=_per_class(everywhere),
        class_ap50=_per_class(everywhere[0]),
        class_ap75=_per_class(everywhere[5]),
        class_ar=_per_class(result.recall[:, :, 0, 2]),
    )


def _three(values: Iterable[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _per_class(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) means of values (..., K)."""
    return np.array([_mean_defined(values[..., label]) for label in range(values.shape[-1])])


def _mean_defined(values: NDArray[np.float64]) -> float:
    """Mean of the values that are defined, that is not -1; -1 if none is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
