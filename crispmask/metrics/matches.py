"""Which prediction found which annotation, image by image: what AP is made of, kept for reuse.

Letters: P predictions, G annotations, T IoU levels, O overlapping pairs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

IOU_LEVELS = np.linspace(0.5, 0.95, 10)
"""IoU of a hit at each level, the numbers pycocotools uses."""

LEAST_OVERLAP = 0.1
"""IoU of a pair that is kept. Below it, TIDE (arXiv:2008.08115) calls a prediction background."""

MOST_PREDICTIONS = 100
"""Predictions per image and class that count, best scores first."""

Row = Mapping[str, Any]
"""An annotation of a COCO file, or a prediction of a COCO results file."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Predictions, best score first, annotations, and what they have to do with each other.

    Attributes:
        num_images: I, images of the split, those without anything included.
        rows: (P,) position of each prediction in the results file.
        images: (P,) position of its image among the image ids in ascending order.
        labels: (P,) its class.
        scores: (P,) descending.
        partners: (T, P) the annotation found at each IoU level, -1 if none.
        ignored: (T, P) found nothing but a crowd: neither right nor wrong.
        annotation_images: (G,) as `images`.
        annotation_labels: (G,) as `labels`.
        crowd: (G,) whether it is a crowd.
        pairs: (O, 2) prediction and annotation of any class, which overlap by at least
            `LEAST_OVERLAP`.
        overlaps: (O,) their IoU; with a crowd the share of the prediction inside it.
    """

    num_images: int
    rows: NDArray[np.int64]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    partners: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    annotation_images: NDArray[np.int64]
    annotation_labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    pairs: NDArray[np.int64]
    overlaps: NDArray[np.float64]

    def above(self, conf: float) -> Matches:
        """Without the predictions of a lower score. The others match as they did."""
        count = int(np.searchsorted(-self.scores, -conf, side="right"))
        kept = self.pairs[:, 0] < count
        return replace(
            self,
            rows=self.rows[:count],
            images=self.images[:count],
            labels=self.labels[:count],
            scores=self.scores[:count],
            partners=self.partners[:, :count],
            ignored=self.ignored[:, :count],
            pairs=self.pairs[kept],
            overlaps=self.overlaps[kept],
        )


def match_predictions(
    ground_truth: Mapping[str, Any],
    predictions: Sequence[Row],
    kind: Literal["mask", "box"] = "mask",
) -> Matches:
    """Matches as pycocotools does, instances of all sizes.

    In each image and class the predictions, best score first, take the free annotation with
    the highest IoU, of several equal ones the last; one that finds none but lies in a crowd is
    ignored.

    Args:
        ground_truth: a COCO annotation file: `images`, `annotations`.
        predictions: rows of a COCO results file with `segmentation` or `bbox`.
        kind: what is compared.
    """
    images = sorted(ground_truth["images"], key=lambda image: image["id"])
    annotations: Sequence[Row] = ground_truth["annotations"]
    annotated, predicted = _by_image(annotations), _by_image(predictions)
    found: list[_Image] = []
    for image in images:
        mine = [predictions[i] for i in predicted[image["id"]]]
        kept = _best_of_each_class(mine)
        found.append(
            _match_image(
                np.array([predicted[image["id"]][i] for i in kept], dtype=np.int64),
                [mine[i] for i in kept],
                np.array(annotated[image["id"]], dtype=np.int64),
                [annotations[i] for i in annotated[image["id"]]],
                (int(image["height"]), int(image["width"])),
                kind,
            )
        )
    positions = {image["id"]: i for i, image in enumerate(images)}
    return _join(found, predictions, annotations, positions)


@dataclass(frozen=True, slots=True)
class _Image:
    """The part of `Matches` that belongs to an image; predictions named by their row."""

    rows: NDArray[np.int64]
    partners: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    pairs: NDArray[np.int64]
    overlaps: NDArray[np.float64]


def _best_of_each_class(rows: Sequence[Row]) -> list[int]:
    """Positions of the rows that count, best score first."""
    scores = np.array([row["score"] for row in rows], dtype=np.float64)
    counted: defaultdict[int, int] = defaultdict(int)
    kept = []
    for i in np.argsort(-scores, kind="stable").tolist():
        counted[rows[i]["category_id"]] += 1
        if counted[rows[i]["category_id"]] <= MOST_PREDICTIONS:
            kept.append(i)
    return kept


def _match_image(
    rows: NDArray[np.int64],
    predictions: Sequence[Row],
    numbers: NDArray[np.int64],
    annotations: Sequence[Row],
    size: tuple[int, int],
    kind: Literal["mask", "box"],
) -> _Image:
    """Matches the predictions of an image, which are in order, with its annotations.

    Args:
        rows: position of each prediction in the results file.
        predictions: the rows themselves.
        numbers: position of each annotation in the annotation file.
        annotations: the annotations themselves.
        size: (height, width) of the image.
        kind: what is compared.
    """
    num_levels = len(IOU_LEVELS)
    partners = np.full((num_levels, len(predictions)), -1, dtype=np.int64)
    ignored = np.zeros((num_levels, len(predictions)), dtype=bool)
    overlaps = _overlaps(predictions, annotations, size, kind)  # (P, G)
    crowd = np.array([bool(row.get("iscrowd", 0)) for row in annotations], dtype=bool)
    theirs = np.array([row["category_id"] for row in annotations], dtype=np.int64)
    levels = np.minimum(IOU_LEVELS, 1 - 1e-10)[:, None]  # as pycocotools, where IoU is 1
    free = np.ones((num_levels, len(annotations)), dtype=bool)
    every = np.arange(num_levels)
    for i, row in enumerate(predictions):
        near = np.flatnonzero((overlaps[i] >= levels[0]) & (theirs == row["category_id"]))
        single, crowds = near[~crowd[near]], near[crowd[near]]
        if len(single):
            single = single[::-1]  # argmax takes the first of equal ones: here the last
            values = np.where(free[:, single], overlaps[i, single], -1.0)  # (T, n)
            best = values.argmax(1)
            hit = values[every, best] >= levels[:, 0]
            taken = single[best[hit]]
            partners[hit, i] = numbers[taken]
            free[hit, taken] = False
        if len(crowds):
            inside = overlaps[i, crowds].max() >= levels[:, 0]
            ignored[:, i] = inside & (partners[:, i] < 0)
    first, second = np.nonzero(overlaps >= LEAST_OVERLAP)
    pairs = np.stack([rows[first], numbers[second]], axis=1)
    return _Image(rows, partners, ignored, pairs, overlaps[first, second])


def _overlaps(
    predictions: Sequence[Row],
    annotations: Sequence[Row],
    size: tuple[int, int],
    kind: Literal["mask", "box"],
) -> NDArray[np.float64]:
    """(P, G) IoU; with a crowd the intersection over the area of the prediction."""
    from faster_coco_eval.core import mask as coco_mask

    if not predictions or not annotations:
        return np.zeros((len(predictions), len(annotations)))
    if kind == "mask":
        mine: Any = [_to_rle(row["segmentation"], size) for row in predictions]
        theirs: Any = [_to_rle(row["segmentation"], size) for row in annotations]
    else:
        mine = np.array([row["bbox"] for row in predictions], dtype=np.float64)
        theirs = np.array([row["bbox"] for row in annotations], dtype=np.float64)
    crowd = [int(row.get("iscrowd", 0)) for row in annotations]
    overlaps = np.asarray(coco_mask.iou(mine, theirs, crowd), dtype=np.float64)
    return overlaps.reshape(len(predictions), len(annotations))


def _to_rle(segmentation: Any, size: tuple[int, int]) -> Any:
    """Compressed RLE of polygons, of uncompressed RLE, or of itself."""
    from faster_coco_eval.core import mask as coco_mask

    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, *size)
    return segmentation


def _join(
    found: Sequence[_Image],
    predictions: Sequence[Row],
    annotations: Sequence[Row],
    positions: Mapping[int, int],
) -> Matches:
    """All images together, predictions sorted by score, those of equal score by image."""
    num_levels = len(IOU_LEVELS)
    rows = np.concatenate([np.zeros(0, np.int64), *(part.rows for part in found)])
    scores = np.array([predictions[i]["score"] for i in rows], dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    rows = rows[order]
    place = np.zeros(len(predictions), dtype=np.int64)
    place[rows] = np.arange(len(rows))
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *(part.pairs for part in found)])
    pairs[:, 0] = place[pairs[:, 0]]
    none = np.zeros((num_levels, 0))
    partners = [none.astype(np.int64), *(part.partners for part in found)]
    ignored = [none.astype(bool), *(part.ignored for part in found)]
    return Matches(
        num_images=len(found),
        rows=rows,
        images=_integers(positions[predictions[i]["image_id"]] for i in rows),
        labels=_integers(predictions[i]["category_id"] - 1 for i in rows),
        scores=scores[order],
        partners=np.concatenate(partners, axis=1)[:, order],
        ignored=np.concatenate(ignored, axis=1)[:, order],
        annotation_images=_integers(positions[row["image_id"]] for row in annotations),
        annotation_labels=_integers(row["category_id"] - 1 for row in annotations),
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in annotations], dtype=bool),
        pairs=pairs,
        overlaps=np.concatenate([np.zeros(0), *(part.overlaps for part in found)]),
    )


def _integers(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, dtype=np.int64)


def _by_image(rows: Sequence[Row]) -> defaultdict[int, list[int]]:
    """Positions of the rows of each image."""
    grouped: defaultdict[int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        grouped[row["image_id"]].append(i)
    return grouped
