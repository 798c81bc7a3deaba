"""Matrix NMS against loops written from the paper."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.models.solov2.decode import matrix_nms, point_nms


@given(st.integers(0, 2**31), st.integers(0, 8))
@settings(max_examples=40, deadline=None)
def test_by_loops(seed: int, num: int) -> None:
    g = torch.Generator().manual_seed(seed)
    masks = torch.rand(num, 12, generator=g) > 0.4
    masks[:, 0] = True  # none is empty
    labels = torch.randint(0, 2, (num,), generator=g)

    def iou(i: int, j: int) -> float:
        if labels[i] != labels[j]:
            return 0.0
        both = (masks[i] & masks[j]).sum().item()
        return both / (masks[i].sum().item() + masks[j].sum().item() - both)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crispmask.models.solov2.decode.CHUNK_PIXELS", 5 * max(num, 1))
        patch.setattr("crispmask.models.solov2.decode._ROWS", 3)
        result = matrix_nms(masks, masks.sum(1).float(), labels, sigma=2.0)
    assert result.shape == (num,)
    for j in range(num):
        decay = 1.0
        for i in range(j):
            covered = max([iou(k, i) for k in range(i)], default=0.0)
            decay = min(decay, math.exp(-2 * iou(i, j) ** 2) / math.exp(-2 * covered**2))
        assert result[j].item() == pytest.approx(decay, abs=1e-5)


def test_point_nms_compares_with_left_upper_and_upper_left() -> None:
    p = torch.tensor([[[0.1, 0.5, 0.4], [0.9, 0.2, 0.6], [0.3, 0.95, 0.7]]])
    kept = point_nms(p)[0]
    for y in range(3):
        for x in range(3):
            near = [
                p[0, y - dy, x - dx]
                for dy in (0, 1)
                for dx in (0, 1)
                if y - dy >= 0 and x - dx >= 0
            ]
            assert (kept[y, x] > 0) == (p[0, y, x] == max(near))
