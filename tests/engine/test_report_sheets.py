from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from crispmask.data.coco import coco_ground_truth
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.engine.predictions import Predictions
from crispmask.engine.report import draw_labels, draw_predictions
from crispmask.geometry.polygons import polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.geometry.rle import encode_masks

if TYPE_CHECKING:
    from conftest import MakeDataset


def test_labels_and_predictions_are_drawn_alike(yolo_dataset: MakeDataset, tmp_path: Path) -> None:
    """What is found exactly as annotated differs by the figures of the scores alone."""
    spec = read_spec(yolo_dataset(num_val=4, size=(96, 128)))
    index = build_index(spec.val, len(spec.names), workers=0)
    found = Predictions(tmp_path)
    for row in coco_ground_truth(index, spec.names)["images"]:
        i, size = row["id"] - 1, (row["height"], row["width"])
        polygons, labels = index.annotation(i, size)
        boxes = polygons_to_boxes(polygons)
        boxes[:, 2:] -= boxes[:, :2]
        columns = (encode_masks(rasterise(polygons, size)), labels.tolist(), boxes.tolist())
        found.add(
            row["id"],
            [
                {"segmentation": mask, "category_id": label + 1, "bbox": box, "score": 1.0}
                for mask, label, box in zip(*columns, strict=True)
            ],
        )
    draw_labels(tmp_path / "labels.png", index, spec.names, 4)
    draw_predictions(tmp_path / "found.png", found, index, spec.names, 4)
    labels, predictions = (
        cv2.imread(str(tmp_path / name)).astype(int) for name in ("labels.png", "found.png")
    )
    assert labels.shape == predictions.shape == (2 * 240 + 24, 2 * 320 + 24, 3)
    assert np.abs(labels - predictions).mean() < 3
