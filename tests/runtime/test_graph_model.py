"""From images to instances around a graph that is a few lines of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_graphs import INFO

from crispmask.errors import ConfigError
from crispmask.inference.settings import Settings
from crispmask.runtime.info import GraphInfo
from crispmask.runtime.model import GraphModel

SOLOV2 = replace(
    INFO,
    architecture="solov2",
    imgsz=(64, 64),
    mask_threshold=0.5,
    mask_stride=4,
    mask_boxes=True,
)


class Grey(GraphModel):
    """Finds in each image two instances of one class, the second a part of the first.

    Its score is the grey of the first pixel, so that results tell whose they are.
    """

    def __init__(self, info: GraphInfo) -> None:
        super().__init__(Path("grey.onnx"), info)
        self.batches: list[int] = []

    def run(
        self, images: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        num, _, height, width = images.shape
        self.batches.append(num)
        masks = np.zeros((num, 2, height // 4, width // 4), dtype=np.float32)
        masks[:, 0, :10, :10] = masks[:, 1, :10, :8] = 1
        scores = np.stack([images[:, 0, 0, 0] / 255, np.full(num, 0.3)], axis=1)
        return {
            "num_detections": np.full(num, 2),
            "scores": scores.astype(np.float32),
            "labels": np.zeros((num, 2), dtype=np.int64),
            "boxes": np.zeros((num, 2, 4), dtype=np.float32),
            "soft_masks": masks,
        }


def greys(*values: int) -> list[NDArray[np.uint8]]:
    return [np.full((64, 64, 3), value, dtype=np.uint8) for value in values]


@pytest.mark.parametrize(("batch", "runs"), [(1, [1] * 5), (4, [4, 4])])
@pytest.mark.parametrize("at_once", [1, 3, 5])
def test_a_fixed_batch_takes_any_number_of_images(
    batch: int, runs: list[int], at_once: int
) -> None:
    model = Grey(replace(SOLOV2, batch=batch))
    values = [100, 120, 140, 160, 180]
    found = model.predict(greys(*values), batch=at_once)
    assert [round(float(x.scores[0]) * 255) for x in found] == values
    assert model.batches == runs


def test_a_function_may_get_more_images_than_the_graph_takes() -> None:
    model = Grey(replace(SOLOV2, batch=2))
    found = model.finder(Settings(batch=4))(greys(100, 120, 140))
    assert [round(float(x.scores[0]) * 255) for x in found] == [100, 120, 140]
    assert model.batches == [2, 2]


def test_iou_of_masks_can_be_chosen_after_the_export() -> None:
    model = Grey(SOLOV2)
    assert [len(model.predict(greys(200), iou=iou)[0]) for iou in (None, 0.85, 0.75)] == [2, 2, 1]
    boxes = Grey(replace(SOLOV2, mask_boxes=False, architecture="rtmdet-ins"))
    assert len(boxes.predict(greys(200), iou=0.6)[0]) == 2
    with pytest.raises(ConfigError, match=r"--iou 0\.5: grey\.onnx has 0\.6 inside"):
        boxes.predict(greys(200), iou=0.5)
