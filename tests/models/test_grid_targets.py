"""SOLO's label assignment against loops written from the paper."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.models.solov2.config import STRIDES, grids_for, ranges_for
from crispmask.models.solov2.targets import grid_targets

SIZE = 128


@given(st.integers(0, 2**31), st.integers(0, 6))
@settings(max_examples=30, deadline=None)
def test_by_loops(seed: int, num: int) -> None:
    g = torch.Generator().manual_seed(seed)
    grids, ranges, K = (10, 7, 4), ((0, 30), (20, 60), (50, 1e9)), 3
    masks = torch.zeros(num, SIZE, SIZE, dtype=torch.bool)
    boxes = torch.zeros(num, 4)
    for n in range(num):
        x, y = torch.randint(0, SIZE - 20, (2,), generator=g).tolist()
        w, h = torch.randint(2, 100, (2,), generator=g).tolist()
        masks[n, y : y + h, x : x + w] = True
        boxes[n] = torch.tensor([x, y, min(x + w, SIZE), min(y + h, SIZE)])
    labels = torch.randint(0, K, (num,), generator=g)
    found = grid_targets(labels, boxes, masks, 1, (SIZE, SIZE), grids, ranges, K)
    for S, (low, high), target in zip(grids, ranges, found, strict=True):
        expected, cell_labels = [], [K] * (S * S)
        for n in range(num):
            x1, y1, x2, y2 = boxes[n].tolist()
            if not low <= ((x2 - x1) * (y2 - y1)) ** 0.5 <= high:
                continue
            where = masks[n].nonzero().float().mean(0)  # row, column indices
            cy, cx = where.tolist()
            half_h, half_w = 0.1 * (y2 - y1), 0.1 * (x2 - x1)

            def cell(position: float, S: int = S) -> int:
                return max(0, min(S - 1, int(position / SIZE * S)))

            for row in range(S):
                for column in range(S):
                    if (
                        max(cell(cy - half_h), cell(cy) - 1) <= row
                        and row <= min(cell(cy + half_h), cell(cy) + 1)
                        and max(cell(cx - half_w), cell(cx) - 1) <= column
                        and column <= min(cell(cx + half_w), cell(cx) + 1)
                    ):
                        expected.append((row * S + column, n))
                        cell_labels[row * S + column] = labels[n].item()
        assert list(zip(target.cells.tolist(), target.instances.tolist(), strict=True)) == expected
        assert target.labels.tolist() == cell_labels


def test_ranges_and_grids_follow_the_image() -> None:
    assert grids_for(1280) == (40, 36, 24, 16, 12)
    assert grids_for(256) == (32, 32, 24, 16, 12)
    assert grids_for(64) == (8, 8, 8, 8, 8)
    assert ranges_for(640)[1] == (24, 96)
    assert ranges_for(640)[0][0] == 0
    assert ranges_for(64)[-1][1] == float("inf")


@pytest.mark.parametrize("imgsz", [64, 160, 320, 640, 1280, 2048])
def test_a_level_resolves_the_instances_it_learns(imgsz: int) -> None:
    """An instance spans three steps of the features of any level but the finest."""
    for stride, (low, high) in zip(STRIDES[1:], ranges_for(imgsz)[1:], strict=True):
        assert 3 * stride <= low < high
    for imgsz in range(64, 2048, 32):
        assert all(imgsz / S >= STRIDES[0] for S in grids_for(imgsz))


def test_an_instance_smaller_than_the_mask_grid_is_still_learnt() -> None:
    masks = torch.zeros(1, SIZE // 4, SIZE // 4, dtype=torch.bool)
    boxes = torch.tensor([[64.5, 64.5, 66.0, 66.0]])
    found = grid_targets(
        torch.tensor([1]), boxes, masks, 4, (SIZE, SIZE), grids_for(SIZE), ranges_for(SIZE), 3
    )
    assert len(found[0].cells) >= 1
    assert (found[0].labels == 1).sum() == len(found[0].cells)
