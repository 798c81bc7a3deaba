"""All augmentations at once, with random parameters: pixels, masks and boxes stay in step."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from augment_references import (
    contains,
    inside_region,
    output_points,
    own_points,
    ring_of,
    smooth_sample,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crispmask.augment.pipeline import Pipeline, Plan
from crispmask.augment.tiles import Tile
from crispmask.config import AugmentConfig
from crispmask.geometry.polygons import polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Sample

S = 96
FINE = 8
"""Pixels per side that a pixel of the reference is divided into."""

fractions = st.floats(0, 1)
configs = st.builds(
    AugmentConfig,
    mosaic=st.sampled_from([0.0, 1.0, 0.5]),
    mixup=st.sampled_from([0.0, 1.0]),
    degrees=st.floats(0, 180),
    translate=st.floats(0, 0.3),
    scale=st.floats(0, 0.6),
    shear=st.floats(0, 20),
    perspective=st.sampled_from([0.0, 0.0005, 0.001]),
    copy_paste=fractions,
    fliplr=fractions,
    flipud=fractions,
)

POINTED = AugmentConfig(
    mosaic=1.0,
    mixup=1.0,
    degrees=33.0,
    translate=0.046875,
    scale=0.125,
    perspective=0.0005,
    fliplr=0.0,
    flipud=0.0,
)
"""With seed 47 an instance ends in a point at the border of the image, thinner than a pixel."""


def sample_of(index: int) -> Sample:
    """Another shape for each position: parts, holes, a concave ring, nothing at all."""
    sample = smooth_sample(index, 60 + 13 * index, 96 - 9 * index, index=index)
    height, width = sample.image.shape[:2]
    if index == 3:
        return replace(sample, polygons=(), labels=sample.labels[:0])
    if index == 2:
        star = ring_of(width / 2, height / 2, 0.45 * min(height, width), points=10)
        star[::2] = (star[::2] - star.mean(0)) * 0.45 + star.mean(0)
        return replace(sample, polygons=((star,),), labels=sample.labels[:1])
    return sample


def plan_of(config: AugmentConfig, seed: int, index: int) -> Plan:
    return Pipeline(config, S).plan(sample_of, index, range(4), np.random.default_rng(seed))


def warped_mask(tile: Tile, parts: tuple[Part, ...], matrix: NDArray[np.float64]) -> NDArray:
    """The instance looked up at every output pixel: rasterised first, warped then."""
    points = output_points(matrix, S)
    on_tile = own_points(tile, points)
    height, width = tile.sample.image.shape[:2]
    fine = rasterise((tuple(part * FINE for part in parts),), (height * FINE, width * FINE))[0]
    column, row = np.floor(on_tile * FINE).astype(int).transpose(2, 0, 1)
    seen = (column >= 0) & (column < width * FINE) & (row >= 0) & (row < height * FINE)
    seen &= inside_region(tile, points)
    return seen & fine[row.clip(0, height * FINE - 1), column.clip(0, width * FINE - 1)]


def rim(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels within one of a border of the mask."""
    kernel = np.ones((3, 3), dtype=np.uint8)
    grown = cv2.dilate(mask.astype(np.uint8), kernel)
    return (grown - cv2.erode(mask.astype(np.uint8), kernel)).astype(bool)


@given(configs, st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_rasterised_then_warped_is_warped_then_rasterised(
    config: AugmentConfig, seed: int, index: int
) -> None:
    for scene in plan_of(config, seed, index).scenes:
        tiles = [layer for layer in scene.layers if layer.stencil is None]
        # Plain instances and, where some were pasted, their mirror images.
        matrices = {layer.matrix.tobytes(): layer.matrix for layer in scene.layers}
        expected = [
            warped_mask(layer.tile, parts, matrix)
            for layer in tiles
            for matrix in matrices.values()
            for parts in layer.tile.sample.polygons
        ]
        for mask in rasterise(scene.polygons, (S, S)):
            differences = [(mask ^ other) & ~rim(other) for other in expected]
            # Nothing beyond a pixel from the border, but for slivers that an eighth of a
            # pixel, enlarged, makes.
            assert min(int(found.sum()) for found in differences) <= 3


@example(POINTED, 47, 0)
@given(configs, st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_boxes_are_the_extent_of_what_is_visible(
    config: AugmentConfig, seed: int, index: int
) -> None:
    plan = plan_of(config, seed, index)
    boxes = polygons_to_boxes(plan.polygons)
    assert len(boxes) == len(plan.labels)
    assert (boxes >= 0).all()
    assert (boxes <= S).all()
    masks = rasterise(plan.polygons, (S, S))
    for box, mask, parts in zip(boxes, masks, plan.polygons, strict=True):
        if not mask.any():
            continue  # thinner than a pixel
        extent = extent_of(mask)
        assert (extent[:2] >= box[:2] - 0.51).all()
        assert (extent[2:] <= box[2:] + 0.51).all()
        # Centres decide: a pointed end reaches further than the last pixel it covers, but not
        # far beyond the last one of a finer grid.
        if mask.sum() > 0.3 * (box[2:] - box[:2]).prod():
            finer = tuple((part * FINE).astype(np.float32) for part in parts)
            fine = extent_of(rasterise((finer,), (S * FINE, S * FINE))[0]) / FINE
            assert np.abs(fine - box).max() <= 4


def extent_of(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(x1, y1, x2, y2) of the pixels that are set; at least one is."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@given(configs, st.integers(0, 1000), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_the_same_numbers_give_the_same_sample(
    config: AugmentConfig, seed: int, index: int
) -> None:
    out = np.empty((S, S, 3), dtype=np.uint8)
    first, second = (
        Pipeline(config, S)(sample_of, index, range(4), np.random.default_rng(seed), place)
        for place in (None, out)
    )
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert sum(map(len, first.polygons)) == sum(map(len, second.polygons))


def test_the_reference_is_contained_where_the_polygon_is() -> None:
    """The reference itself, against looking up every pixel in the polygon."""
    config = AugmentConfig(mosaic=0.0, degrees=30, perspective=0.001)
    scene = plan_of(config, 5, 0).scenes[0]
    layer = scene.layers[0]
    points = own_points(layer.tile, output_points(layer.matrix, S))
    for parts in layer.tile.sample.polygons:
        exact = contains(parts, points) & inside_region(layer.tile, output_points(layer.matrix, S))
        mask = warped_mask(layer.tile, parts, layer.matrix)
        assert ((mask ^ exact) & ~rim(exact)).sum() == 0
        assert exact.sum() > 50
