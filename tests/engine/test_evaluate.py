from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from toy_network import ToyNetwork, make_batches

from crispmask.config import DecodeConfig
from crispmask.engine.evaluate import evaluate, predict_batches, to_coco
from crispmask.geometry.rle import decode_masks
from crispmask.models.detections import Detections, to_instances


def _truth(num_images: int) -> dict[str, Any]:
    annotations = []
    for batch in make_batches(num_images // 2):
        for index, box in zip(batch.indices, batch.targets.boxes.tolist(), strict=True):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                }
            )
    images = [{"id": i + 1, "height": 32, "width": 32} for i in range(num_images)]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "square"}],
    }


class _Perfect(ToyNetwork):
    """Sees that the squares are bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bright = images.float().mean(1, keepdim=True)[:, :, 2::4, 2::4]
        return (bright - 100 + 0 * self.head.bias) / 10


def test_perfect_predictions_score_high() -> None:
    seen: list[int] = []
    result = evaluate(
        _Perfect(), make_batches(3), ("square",), _truth(6), DecodeConfig(), on_batch=seen.append
    )
    assert result.metrics.mask.map50 == pytest.approx(1.0)
    assert seen == [2, 2, 2]
    assert [row["image_id"] for row in result.predictions] == [1, 2, 3, 4, 5, 6]
    assert json.loads(json.dumps(list(result.predictions))) == list(result.predictions)


def test_no_predictions_at_all() -> None:
    result = evaluate(ToyNetwork(), make_batches(2), ("square",), _truth(4), DecodeConfig(conf=1.0))
    assert list(result.predictions) == []
    assert result.metrics.mask.map50_95 == 0


def test_no_images() -> None:
    network = ToyNetwork()
    assert list(predict_batches(network, [], DecodeConfig())) == []
    assert not network.training


@pytest.mark.parametrize("with_boxes", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_rows_equal_those_of_instances(
    with_boxes: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crispmask.models.detections.CHUNK_PIXELS", 2 * 8 * 8)  # two at a time
    generator = torch.Generator().manual_seed(count)
    boxes = torch.tensor([[1.0, 2.0, 20.0, 24.0]]).expand(count, 4)
    found = Detections(
        scores=torch.linspace(0.9, 0.1, count),
        labels=torch.arange(count),
        boxes=boxes if with_boxes else None,
        soft_masks=torch.rand(count, 8, 8, generator=generator),
        threshold=0.5,
        mask_stride=4,
    )
    sizes = (32, 25), (90, 70)
    rows = to_coco(found, 7, *sizes)
    expected = to_instances(found, *sizes)
    assert rows == expected.to_coco(7)
    if count:
        masks = decode_masks([row["segmentation"] for row in rows])
        assert np.array_equal(masks, expected.masks)
