"""COCO average precision of masks and boxes, equal to pycocotools on the same files.

Letters: K classes, R = 101 recall levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.curves import PrecisionRecall

Annotation = Mapping[str, Any]
"""One row of `annotations` of a COCO file, or of a COCO results file."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The summary numbers of one kind of overlap, in [0, 1], or -1 where COCO has no answer.

    Attributes:
        map50_95: mean over classes and IoU 0.50, 0.55 ... 0.95 of the average precision.
        map50: the same at IoU 0.50 alone.
        map75: the same at IoU 0.75 alone.
        map_small: instances below 32 x 32 pixels.
        map_medium: instances from 32 x 32 to 96 x 96 pixels.
        map_large: instances above 96 x 96 pixels.
        ar100: mean recall with at most 100 instances per image.
        class_ap: (K,) `map50_95` of each class.
        class_ap50: (K,) `map50` of each class.
    """

    map50_95: float
    map50: float
    map75: float
    map_small: float
    map_medium: float
    map_large: float
    ar100: float
    class_ap: NDArray[np.float64]
    class_ap50: NDArray[np.float64]

    def to_json(self, prefix: str) -> dict[str, float]:
        """The numbers over all classes under the keys of metrics.json."""
        return {
            f"{prefix}/mAP50-95": self.map50_95,
            f"{prefix}/mAP50": self.map50,
            f"{prefix}/mAP75": self.map75,
            f"{prefix}/mAP_small": self.map_small,
            f"{prefix}/mAP_medium": self.map_medium,
            f"{prefix}/mAP_large": self.map_large,
            f"{prefix}/AR100": self.ar100,
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
    """

    names: tuple[str, ...]
    mask: Summary
    box: Summary
    num_instances: NDArray[np.int64]
    curves: PrecisionRecall

    def to_json(self) -> dict[str, Any]:
        """What metrics.json holds."""
        per_class = {
            name: {
                "mask/mAP50-95": float(self.mask.class_ap[label]),
                "mask/mAP50": float(self.mask.class_ap50[label]),
                "box/mAP50-95": float(self.box.class_ap[label]),
                "box/mAP50": float(self.box.class_ap50[label]),
                "instances": int(self.num_instances[label]),
            }
            for label, name in enumerate(self.names)
        }
        return {**self.mask.to_json("mask"), **self.box.to_json("box"), "per_class": per_class}


def evaluate_coco(
    ground_truth: Mapping[str, Any], predictions: Sequence[Annotation], names: Sequence[str]
) -> CocoMetrics:
    """COCO metrics of predictions; neither argument is changed.

    As in pycocotools, the size range of a prediction that has a `bbox` goes by the area of
    that box, also where masks are compared; the size range of an annotation goes by its
    `area`. At most 100 predictions per image and class count.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`, `categories`.
        predictions: rows of a COCO results file with `bbox` and `segmentation`.
        names: class names by label; the category id of a label is label + 1.
    """
    masks = _accumulate(ground_truth, predictions, len(names), "segm")
    boxes = _accumulate(ground_truth, predictions, len(names), "bbox")
    counted = [
        int(annotation["category_id"]) - 1
        for annotation in ground_truth["annotations"]
        if not annotation.get("iscrowd", 0)
    ]
    return CocoMetrics(
        names=tuple(names),
        mask=_summarise(masks),
        box=_summarise(boxes),
        num_instances=np.bincount(np.asarray(counted, dtype=np.int64), minlength=len(names)).astype(
            np.int64
        ),
        curves=PrecisionRecall(
            precision50=masks.precision[0, :, :, 0].T,
            precision75=masks.precision[5, :, :, 0].T,
            scores50=masks.scores[0, :, :, 0].T,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Accumulated:
    """Results with 100 instances per image; T IoU levels, A size ranges: all, s, m, l.

    Attributes:
        precision: (T, R, K, A), -1 for a class without instances in the range.
        scores: (T, R, K, A), score at which the recall is reached.
        recall: (T, K, A), -1 as above.
    """

    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    recall: NDArray[np.float64]


def _accumulate(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Annotation],
    num_classes: int,
    kind: Literal["segm", "bbox"],
) -> _Accumulated:
    from faster_coco_eval import COCO, COCOeval_faster

    # The library writes into the rows it is given, hence a copy of each.
    truth = COCO(
        {
            "images": [dict(image) for image in ground_truth["images"]],
            "annotations": [dict(annotation) for annotation in ground_truth["annotations"]],
            "categories": [dict(category) for category in ground_truth["categories"]],
        },
        print_function=_silent,
    )
    found = truth.loadRes([dict(prediction) for prediction in predictions])
    evaluation = COCOeval_faster(truth, found, kind, print_function=_silent)
    evaluation.params.catIds = list(range(1, num_classes + 1))
    evaluation.evaluate()
    evaluation.accumulate()
    result = evaluation.eval
    return _Accumulated(  # the last of the limits 1, 10 and 100 instances per image
        precision=np.asarray(result["precision"])[..., -1],
        scores=np.asarray(result["scores"])[..., -1],
        recall=np.asarray(result["recall"])[..., -1],
    )


def _silent(*_: object) -> None:
    """Instead of the printing of the evaluator."""


def _summarise(result: _Accumulated) -> Summary:
    everywhere = result.precision[..., 0]  # (T, R, K)
    return Summary(
        map50_95=_mean_defined(everywhere),
        map50=_mean_defined(everywhere[0]),
        map75=_mean_defined(everywhere[5]),
        map_small=_mean_defined(result.precision[..., 1]),
        map_medium=_mean_defined(result.precision[..., 2]),
        map_large=_mean_defined(result.precision[..., 3]),
        ar100=_mean_defined(result.recall[..., 0]),
        class_ap=_per_class(everywhere),
        class_ap50=_per_class(everywhere[:1]),
    )


def _per_class(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) means of precision (T, R, K)."""
    num_classes = precision.shape[-1]
    return np.array([_mean_defined(precision[..., label]) for label in range(num_classes)])


def _mean_defined(values: NDArray[np.float64]) -> float:
    """Mean of the values that are defined, that is not -1; -1 if none is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
