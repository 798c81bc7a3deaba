"""The files a run leaves beside its checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crispmask.config import DecodeConfig
from crispmask.data.coco import write_json_atomic
from crispmask.data.index import DatasetIndex
from crispmask.engine.evaluate import Evaluation
from crispmask.engine.plots import (
    batch_sheet,
    instances_sheet,
    plot_confusion,
    plot_f1_curve,
    plot_pr_curve,
    plot_results,
)
from crispmask.engine.plots.sheets import drawn_size, resize_mask
from crispmask.engine.predictions import Prediction, Predictions
from crispmask.engine.thumbnails import small_image
from crispmask.geometry.polygons import polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.geometry.rle import decode_masks
from crispmask.metrics.confusion import confusion_matrix
from crispmask.types import Batch, Instances, Size

SHEET_IMAGES = 16
"""Most images on one sheet."""


def draw_first_batch(
    batches: Iterable[Batch], names: tuple[str, ...], path: Path
) -> Iterator[Batch]:
    """Yields the batches; draws the first on the way, as the network gets it."""
    for number, batch in enumerate(batches):
        if number == 0:
            batch_sheet(batch, names, path, SHEET_IMAGES)
        yield batch


def write_report(
    folder: Path,
    evaluation: Evaluation,
    ground_truth: Mapping[str, Any],
    index: DatasetIndex,
    num_sheet_images: int,
) -> dict[str, Any]:
    """Writes metrics, predictions and pictures of the best model; returns metrics.json.

    Args:
        folder: of the run.
        evaluation: of the best model.
        ground_truth: COCO annotations of the validation split.
        index: the validation split.
        num_sheet_images: images of its first batch.
    """
    names = evaluation.metrics.names
    metrics = evaluation.metrics.to_json()
    evaluation.predictions.save(folder / "predictions.json")
    plot_pr_curve(evaluation.metrics, folder / "mask_pr_curve.png")
    plot_f1_curve(evaluation.metrics, folder / "mask_f1_curve.png")
    matrix = confusion_matrix(evaluation.comparison)
    plot_confusion(matrix, names, folder / "confusion_matrix.png")
    draw_predictions(
        folder / "val_batch0_pred.jpg", evaluation.predictions, index, names, num_sheet_images
    )
    draw_results(folder)
    write_json_atomic(folder / "metrics.json", metrics)  # last: it marks a finished run
    return metrics


def draw_results(folder: Path) -> None:
    """Draws results.csv, if there is one already."""
    if (folder / "results.csv").is_file():
        plot_results(folder / "results.csv", folder / "results.png")


def draw_predictions(
    path: Path,
    predictions: Predictions,
    index: DatasetIndex,
    names: tuple[str, ...],
    num_images: int,
) -> None:
    """Draws what was found, at the confidence users see, in the first images of a split."""
    count = min(num_images, len(index), SHEET_IMAGES)
    found = [
        [row for row in predictions.of_image(i + 1) if row["score"] >= DecodeConfig.conf]
        for i in range(count)
    ]
    # One image at a time, its masks one at a time: those of large photographs take gigabytes.
    images = (small_image(index, i, drawn_size(index.size(i))) for i in range(count))
    instances = (from_coco(rows, drawn_size(index.size(i)), names) for i, rows in enumerate(found))
    instances_sheet(images, instances, path)


def draw_labels(path: Path, index: DatasetIndex, names: tuple[str, ...], num_images: int) -> None:
    """Draws what is annotated in the images of `draw_predictions`, at the same size."""
    numbers = range(min(num_images, len(index), SHEET_IMAGES))
    images = (small_image(index, i, drawn_size(index.size(i))) for i in numbers)
    instances = (_annotated(index, i, names) for i in numbers)
    instances_sheet(images, instances, path, with_scores=False)


def _annotated(index: DatasetIndex, i: int, names: tuple[str, ...]) -> Instances:
    """The annotations of an image as instances of score 1, at the size it is drawn."""
    size = drawn_size(index.size(i))
    polygons, labels = index.annotation(i, size)
    return Instances(
        scores=np.ones(len(labels), dtype=np.float32),
        labels=labels,
        boxes=polygons_to_boxes(polygons),
        masks=rasterise(polygons, size),
        names=names,
    )


def from_coco(rows: list[Prediction], size: Size, names: tuple[str, ...]) -> Instances:
    """The rows of one image of a COCO results file as instances.

    Args:
        rows: its predictions.
        size: (height, width) of the result.
        names: class names by label.
    """
    masks = np.zeros((len(rows), *size), dtype=np.bool_)
    boxes = np.zeros((len(rows), 4), dtype=np.float32)
    for mask, box, row in zip(masks, boxes, rows, strict=True):
        height, width = row["segmentation"]["size"]
        mask[:] = resize_mask(decode_masks([row["segmentation"]])[0], size)
        x, y, w, h = row["bbox"]
        box[:] = np.array([x, y, x + w, y + h]) * np.tile([size[1] / width, size[0] / height], 2)
    return Instances(
        scores=np.array([row["score"] for row in rows], dtype=np.float32),
        labels=np.array([row["category_id"] - 1 for row in rows], dtype=np.int64),
        boxes=boxes,
        masks=masks,
        names=names,
    )
