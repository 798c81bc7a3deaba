"""Validation: predictions of a split at the size of its image files, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from crispmask.config import DecodeConfig
from crispmask.engine.predictions import ImagePredictions, Prediction, Predictions
from crispmask.engine.together import gather
from crispmask.geometry.boxes import masks_to_boxes
from crispmask.metrics.coco import CocoMetrics, measure, measure_fully
from crispmask.metrics.comparison import Comparer, Comparison, Row
from crispmask.models.detections import Detections, paste_masks, scale_boxes
from crispmask.models.interface import Network
from crispmask.types import Batch, Size


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a network finds in a split.

    Attributes:
        metrics: compared with the ground truth.
        predictions: rows of a COCO results file, image after image, best score first.
        comparison: which of them overlaps which annotation.
    """

    metrics: CocoMetrics
    predictions: Predictions
    comparison: Comparison


def evaluate(
    network: Network[Any],
    batches: Iterable[Batch],
    names: tuple[str, ...],
    ground_truth: Mapping[str, Any],
    decode: DecodeConfig,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    on_batch: Callable[[int], None] = lambda num_images: None,
    fabric: Fabric | None = None,
    folder: Path | None = None,
) -> Evaluation:
    """Compares the predictions for a split with its ground truth, image after image.

    Of several processes each predicts for its batches; rank 0 compares them all, and all get the
    metrics.

    Args:
        network: in evaluation mode afterwards.
        batches: each image of the split once.
        names: class names by label.
        ground_truth: COCO annotations of the split, image ids = index + 1; not used but on
            rank 0.
        decode: usually the preset `val` of the network.
        autocast: arithmetic of the forward pass, such as `fabric.autocast`.
        on_batch: called with the number of images after each batch.
        fabric: connects the processes, if there are several.
        folder: on whose disk the predictions are kept; None takes that of temporary files.
    """
    comparer = Comparer(ground_truth, len(names))
    predictions = Predictions(folder)
    of_batches = predict_batches(network, batches, decode, autocast, on_batch)
    several = fabric is not None and fabric.world_size > 1
    if fabric is not None and several:
        of_batches = _of_all_ranks(of_batches, fabric)
    for of_batch in of_batches:
        for image_id, rows in of_batch:
            comparer.add(image_id, rows)
            predictions.add(image_id, rows)
    comparison = comparer.finish()
    metrics = measure(comparison, names)
    if fabric is not None and several:
        metrics = fabric.broadcast(metrics)
    return Evaluation(metrics, predictions, comparison)


def _of_all_ranks(
    of_batches: Iterator[list[ImagePredictions]], fabric: Fabric
) -> Iterator[list[ImagePredictions]]:
    """Yields what all processes found, batch after batch in the order of one; only on rank 0."""
    while True:
        found = gather(next(of_batches, None))  # of the next batch of each
        if not fabric.broadcast(any(of_batch is not None for of_batch in found)):
            return
        yield from (of_batch for of_batch in found if of_batch is not None)


def evaluate_fully(
    found: Iterable[tuple[int, Sequence[Row]]],
    names: tuple[str, ...],
    ground_truth: Mapping[str, Any],
    imgsz: int,
    folder: Path,
    area_of_box: bool = True,
) -> Evaluation:
    """Everything metrics.json holds, Boundary AP and the Ultralytics figure included.

    Args:
        found: image id and rows of each image once, with `bbox` and compressed masks.
        names: class names by label.
        ground_truth: COCO annotations of the split.
        imgsz: longest side of the network's input, pixels.
        folder: on whose disk the predictions are kept.
        area_of_box: whether the size of a prediction is that of its box, or of its mask.
    """
    predictions = Predictions(folder)

    def kept() -> Iterator[tuple[int, Sequence[Row]]]:
        for image_id, rows in found:
            predictions.add(image_id, rows)
            yield image_id, rows

    metrics, comparison = measure_fully(ground_truth, kept(), names, imgsz, area_of_box)
    return Evaluation(metrics, predictions, comparison)


def complete(evaluation: Evaluation, ground_truth: Mapping[str, Any], imgsz: int) -> Evaluation:
    """The evaluation of an epoch with what takes too long for every epoch; see `evaluate_fully`."""
    found, names = evaluation.predictions.images(), evaluation.metrics.names
    metrics, comparison = measure_fully(ground_truth, found, names, imgsz)
    return replace(evaluation, metrics=metrics, comparison=comparison)


@torch.no_grad()
def predict_batches(
    network: Network[Any],
    batches: Iterable[Batch],
    decode: DecodeConfig,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    on_batch: Callable[[int], None] = lambda num_images: None,
) -> Iterator[list[ImagePredictions]]:
    """Yields what is found in the images of each batch; arguments as in `evaluate`."""
    network.eval()
    device = next(network.parameters()).device
    for batch in batches:
        images = batch.images.to(device, non_blocking=True)
        with autocast():
            outputs = network(images.contiguous(memory_format=torch.channels_last))
        yield [
            (index + 1, to_coco(found, index + 1, valid_size, original_size))
            for found, index, valid_size, original_size in zip(
                network.detect(outputs, decode),
                batch.indices,
                batch.targets.valid_sizes,
                batch.original_sizes,
                strict=True,
            )
        ]
        on_batch(len(batch.images))


def to_coco(
    found: Detections, image_id: int, valid_size: Size, original_size: Size
) -> list[Prediction]:
    """Rows of a COCO results file; no mask is drawn, its runs follow from the coarse one.

    Args:
        found: detections of one image in input pixels.
        image_id: id of the image in the ground truth.
        valid_size: (height, width) of the resized image inside the padded input.
        original_size: (height, width) of the image file.
    """
    masks = paste_masks(found, valid_size, original_size)
    if found.boxes is None:
        boxes = masks_to_boxes(masks)
    else:
        boxes = scale_boxes(found.boxes.float(), valid_size, original_size).cpu().numpy()
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)  # (N, 4)
    return [
        {
            "image_id": image_id,
            "category_id": label + 1,
            "score": score,
            "bbox": box,
            "segmentation": rle,
        }
        for score, label, box, rle in zip(
            found.scores.tolist(),
            found.labels.tolist(),
            xywh.tolist(),
            masks.to_coco(),
            strict=True,
        )
    ]
