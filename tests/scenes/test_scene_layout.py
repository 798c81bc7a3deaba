from __future__ import annotations

import cv2
import numpy as np
import pytest

from crispmask.data.scenes.layout import (
    SUPERSAMPLE,
    TOLERANCE,
    Layout,
    Thing,
    draw_layout,
    fine_masks,
    visible_instances,
)
from crispmask.data.scenes.shapes import CLASS_NAMES, Shape, draw_shape
from crispmask.geometry.raster import rasterise
from crispmask.types import Part


def _square(kind: str, x1: float, y1: float, x2: float, y2: float) -> Thing:
    corners = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float64)
    return Thing(Shape(kind, "", (corners,)), np.array([[1.0, 0, 0], [0, 1, 0]]), x2 - x1)


def _fine_mask(parts: tuple[Part, ...], size: tuple[int, int]) -> np.ndarray:
    fine = (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
    return rasterise((tuple(part * SUPERSAMPLE for part in parts),), fine)[0]


@pytest.mark.parametrize("kind", [*CLASS_NAMES, "strap"])
@pytest.mark.parametrize("seed", range(6))
def test_shapes_are_about_one_unit_across(kind: str, seed: int) -> None:
    shape = draw_shape(kind, np.random.default_rng(seed))
    points = shape.rings[0]
    assert 0.7 < np.ptp(points, axis=0).max() < 1.3
    assert np.abs(points).max() < 0.75
    assert (len(shape.rings) > 1) >= (kind == "ring")


def test_a_bar_in_front_splits_an_object_into_two_parts() -> None:
    card, bar = _square("card", 10, 10, 50, 30), _square("strap", 28, 0, 32, 60)
    layout = Layout((60, 60), 1.0, (card, bar))
    polygons, labels = visible_instances(layout, fine_masks(layout))
    assert labels.tolist() == [CLASS_NAMES.index("card")]
    extents = sorted((part.min(axis=0).tolist(), part.max(axis=0).tolist()) for part in polygons[0])
    assert extents == [([10, 10], [28, 30]), ([32, 10], [50, 30])]


def test_an_object_on_top_cuts_a_hole() -> None:
    stone, leaf = _square("stone", 5, 5, 55, 55), _square("leaf", 20, 20, 30, 30)
    layout = Layout((60, 60), 1.0, (stone, leaf))
    polygons, labels = visible_instances(layout, fine_masks(layout))
    assert labels.tolist() == [CLASS_NAMES.index("stone"), CLASS_NAMES.index("leaf")]
    assert [len(parts) for parts in polygons] == [2, 1]
    masks = rasterise(polygons, (60, 60))
    assert not (masks[0] & masks[1]).any()
    assert (masks[0] | masks[1]).sum() == 50 * 50


def test_what_is_hidden_has_no_label() -> None:
    under, over = _square("card", 20, 20, 30, 30), _square("stone", 10, 10, 40, 40)
    layout = Layout((60, 60), 1.0, (under, over))
    polygons, labels = visible_instances(layout, fine_masks(layout))
    assert labels.tolist() == [CLASS_NAMES.index("stone")]
    assert len(polygons) == 1


@pytest.mark.parametrize("index", [0, 2, 3, 4, 7])
def test_labels_match_what_is_drawn(index: int) -> None:
    layout = draw_layout(np.random.default_rng(index), 160, index)
    masks = fine_masks(layout)
    polygons, labels = visible_instances(layout, masks)
    # The plain way: paint numbers from back to front.
    owner = np.full(masks[0].shape, -1)
    for number, mask in enumerate(masks):
        owner[mask] = number
    drawn = [
        owner == number
        for number, thing in enumerate(layout.things)
        if thing.shape.kind in CLASS_NAMES and (owner == number).sum() > 40
    ]
    assert len(polygons) == len(labels) == len(drawn) > 0
    # Further from an outline than the tolerance and half a fine pixel, they agree.
    reach = int(np.ceil((TOLERANCE + 0.125) * SUPERSAMPLE))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    for parts, mask in zip(polygons, drawn, strict=True):
        labelled = _fine_mask(parts, layout.size)
        assert abs(int(labelled.sum()) - int(mask.sum())) <= 0.02 * mask.sum() + 40
        different = (labelled ^ mask).astype(np.uint8)
        assert different.mean() < 0.002
        thick = cv2.morphologyEx(different, cv2.MORPH_OPEN, kernel)
        assert thick.sum() == 0  # no region is wrong, only thin lines along outlines


def test_nothing_to_see_is_normal() -> None:
    layout = draw_layout(np.random.default_rng(0), 96, 9)
    polygons, labels = visible_instances(layout, fine_masks(layout))
    assert layout.things == ()
    assert polygons == ()
    assert labels.shape == (0,)
    assert labels.dtype == np.int64
