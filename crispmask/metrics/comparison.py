"""Predictions beside annotations: what overlaps what, gathered image after image.

Of an image only numbers stay: no mask is kept, and none is decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.metrics.columns import Columns
from crispmask.metrics.overlaps import overlaps_of_image

Row = Mapping[str, Any]
"""One row of `annotations` of a COCO file, or of a COCO results file."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Columns of a COCO results file, in the order of its rows.

    Attributes:
        image_id: (D,) int64.
        label: (D,) int64, category id - 1.
        score: (D,) float64.
        area: (D,) float64 pixels: what size ranges go by.
    """

    image_id: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    area: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.score)


@dataclass(frozen=True, slots=True)
class Annotations:
    """Columns of the annotations of a COCO file, in their order.

    Attributes:
        image_id: (G,) int64.
        label: (G,) int64, category id - 1.
        area: (G,) float64 pixels, as annotated.
        crowd: (G,) bool.
    """

    image_id: NDArray[np.int64]
    label: NDArray[np.int64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.area)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Predictions and annotations of one image that overlap, whatever their classes.

    Those of which no IoU reaches `overlaps.LOWEST_IOU` are left out. IoU with a crowd is the
    intersection over the prediction alone.

    Attributes:
        prediction: (P,) int32, position among the predictions, ascending.
        annotation: (P,) int32, position among the annotations, ascending for a prediction.
        mask_iou: (P,) float64.
        box_iou: (P,) float64.
        boundary_iou: (P,) float64, the smaller one of mask and boundary IoU where the mask IoU
            of a pair of one class reaches 0.5, else the mask IoU; None if not asked for.
    """

    prediction: NDArray[np.int32]
    annotation: NDArray[np.int32]
    mask_iou: NDArray[np.float64]
    box_iou: NDArray[np.float64]
    boundary_iou: NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.prediction)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What every metric is computed from.

    Attributes:
        image_ids: (I,) ids of all images, also of those without instances, ascending.
        num_classes: K.
        predictions: what was found.
        annotations: what is there.
        pairs: what overlaps.
    """

    image_ids: NDArray[np.int64]
    num_classes: int
    predictions: Predictions
    annotations: Annotations
    pairs: Pairs


class Comparer:
    """Gathers a `Comparison`, a few images at a time.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`; not changed.
        num_classes: K; the category id of a label is label + 1.
        boundary: whether boundary IoU is computed.
        area_of_box: whether the size of a prediction is that of its box, as pycocotools has it
            for a file with boxes; else that of its mask.
    """

    def __init__(
        self,
        ground_truth: Mapping[str, Any],
        num_classes: int,
        boundary: bool = False,
        area_of_box: bool = True,
    ) -> None:
        rows = ground_truth["annotations"]
        self.num_classes = num_classes
        self.boundary = boundary
        self.area_of_box = area_of_box
        self._rows = rows
        self._sizes = {
            int(image["id"]): (int(image["height"]), int(image["width"]))
            for image in ground_truth["images"]
        }
        self._of_image: defaultdict[int, list[int]] = defaultdict(list)
        for position, row in enumerate(rows):
            self._of_image[int(row["image_id"])].append(position)
        self._annotations = Annotations(
            image_id=np.array([row["image_id"] for row in rows], dtype=np.int64),
            label=np.array([row["category_id"] - 1 for row in rows], dtype=np.int64),
            area=np.array([row["area"] for row in rows], dtype=np.float64),
            crowd=np.array([row.get("iscrowd", 0) for row in rows], dtype=np.bool_),
        )
        self._found = Columns(np.int64, np.int64, np.float64, np.float64)
        self._pairs = Columns(np.int32, np.int32, np.float64, np.float64, np.float64)
        self._count = 0

    def add(self, image_id: int, rows: Sequence[Row]) -> None:
        """Compares the predictions of one image with its annotations.

        Args:
            image_id: of the ground truth.
            rows: its rows of a COCO results file with `bbox` and `segmentation`.
        """
        if not rows:
            return
        positions = self._of_image.get(image_id, [])
        areas, pairs = overlaps_of_image(
            rows,
            [self._rows[position] for position in positions],
            self._sizes[image_id],
            self.boundary,
            self.area_of_box,
        )
        self._found.add(
            np.full(len(rows), image_id),
            np.array([row["category_id"] - 1 for row in rows]),
            np.array([row["score"] for row in rows]),
            areas,
        )
        if len(pairs.prediction):
            there = np.array(positions)
            placed = pairs._replace(
                prediction=pairs.prediction + self._count, annotation=there[pairs.annotation]
            )
            self._pairs.add(*placed)
        self._count += len(rows)

    def finish(self) -> Comparison:
        """All that was added."""
        prediction, annotation, mask_iou, box_iou, boundary_iou = self._pairs.arrays()
        return Comparison(
            image_ids=np.array(sorted(self._sizes), dtype=np.int64),
            num_classes=self.num_classes,
            predictions=Predictions(*self._found.arrays()),
            annotations=self._annotations,
            pairs=Pairs(
                prediction, annotation, mask_iou, box_iou, boundary_iou if self.boundary else None
            ),
        )


def compare(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Row],
    num_classes: int,
    boundary: bool = False,
    area_of_box: bool = True,
) -> Comparison:
    """All predictions beside all annotations; neither argument is changed.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`.
        predictions: rows of a COCO results file with `bbox` and `segmentation`, those of an
            image one after the other.
        num_classes: K; the category id of a label is label + 1.
        boundary: whether boundary IoU is computed.
        area_of_box: whether the size of a prediction is that of its box, or of its mask.
    """
    comparer = Comparer(ground_truth, num_classes, boundary, area_of_box)
    for image_id, rows in by_image(predictions):
        comparer.add(image_id, rows)
    return comparer.finish()


def by_image(rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[Row]]]:
    """Image id and rows of each image, where those of an image come one after the other."""
    start = 0
    for end in range(1, len(rows) + 1):
        image_id = rows[start]["image_id"]
        if end == len(rows) or rows[end]["image_id"] != image_id:
            yield image_id, rows[start:end]
            start = end
