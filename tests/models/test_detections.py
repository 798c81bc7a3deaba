"""Pasting masks back into the image file."""

from __future__ import annotations

import numpy as np
import torch

from crispmask.geometry.boxes import masks_to_boxes
from crispmask.models import detections
from crispmask.models.detections import Detections, paste_masks, scale_boxes


def make_detections(num: int, h: int = 8, w: int = 12, stride: int = 4) -> Detections:
    soft = torch.rand(num, h, w, generator=torch.Generator().manual_seed(0))
    return Detections(
        torch.rand(num).sort(descending=True).values,
        torch.zeros(num, dtype=torch.int64),
        None,
        soft,
        0.5,
        stride,
    )


def test_chunks_do_not_change_the_masks(monkeypatch) -> None:
    found = make_detections(7)
    whole = paste_masks(found, (30, 40), (61, 83)).dense()
    monkeypatch.setattr(detections, "CHUNK_PIXELS", 2 * 8 * 12)
    np.testing.assert_array_equal(paste_masks(found, (30, 40), (61, 83)).dense(), whole)
    assert whole.shape == (7, 61, 83)


def test_a_square_lands_where_it_was() -> None:
    soft = torch.zeros(1, 16, 16)
    soft[:, 4:8, 2:10] = 1  # x 8 to 40, y 16 to 32 in input pixels
    found = Detections(torch.ones(1), torch.zeros(1).long(), None, soft, 0.5, 4)
    mask = paste_masks(found, (48, 64), (96, 128)).dense()[0]
    np.testing.assert_array_equal(masks_to_boxes(mask[None])[0], [16, 32, 80, 64])


def test_no_detections_give_no_masks() -> None:
    assert paste_masks(make_detections(0), (32, 48), (100, 150)).shape == (0, 100, 150)


def test_boxes_around_masks() -> None:
    masks = np.zeros((2, 5, 7), dtype=bool)
    masks[0, 1:3, 2:6] = True
    np.testing.assert_array_equal(masks_to_boxes(masks), [[2, 1, 6, 3], [0, 0, 0, 0]])
    assert masks_to_boxes(masks[:0]).shape == (0, 4)


def test_boxes_scale_by_each_side_and_stay_inside() -> None:
    boxes = torch.tensor([[-5.0, 10.0, 50.0, 100.0]])
    np.testing.assert_allclose(
        scale_boxes(boxes, (100, 50), (200, 75)).numpy(), [[0.0, 20.0, 75.0, 200.0]]
    )
