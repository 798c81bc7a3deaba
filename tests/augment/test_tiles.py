from __future__ import annotations

import cv2
import numpy as np
import pytest
from augment_references import (
    contains,
    disc_sample,
    empty_sample,
    inside_region,
    on_border,
    output_points,
    own_points,
    render_slowly,
    ring_of,
    smooth_sample,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crispmask.augment.affine import Affine, affine_matrix, is_affine
from crispmask.augment.mosaic import Mosaic, mosaic_tiles
from crispmask.augment.paint import GREY, paint
from crispmask.augment.pipeline import make_scene
from crispmask.augment.tiles import Tile, whole_tile
from crispmask.geometry.letterbox import fit_size, pad_image, resize_image
from crispmask.geometry.polygons import polygons_to_boxes
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Sample

S = 64
affines = st.builds(
    Affine,
    degrees=st.sampled_from([0.0, 2.0, -30.0, 90.0, 137.0]),
    scale=st.sampled_from([0.55, 0.8, 1.0, 1.5]),
    shear=st.tuples(st.sampled_from([0.0, 10.0]), st.sampled_from([0.0, -5.0])),
    shift=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
    perspective=st.sampled_from([(0.0, 0.0), (0.0, 0.0), (1e-3, 0.0), (-4e-3, 5e-3)]),
)
centres = st.tuples(st.integers(S // 2, 3 * S // 2), st.integers(S // 2, 3 * S // 2))


def render(tiles: list[Tile], matrix: np.ndarray, imgsz: int) -> Sample:
    scene = make_scene(tiles, matrix, imgsz)
    image = paint(scene.layers, imgsz)[..., :3]
    return Sample(image, scene.polygons, scene.labels, tiles[0].sample.index)


def four_tiles(seed: int, centre: tuple[int, int]) -> list[Tile]:
    shapes = ((48, 64), (64, 40), (64, 64), (30, 20))  # the last one grows
    samples = [smooth_sample(seed + k, *shape, index=k) for k, shape in enumerate(shapes)]
    return mosaic_tiles(samples, Mosaic(centre, (1, 2, 3)), S)


def to_output(affine: Affine) -> np.ndarray:
    return affine_matrix(affine, S, (S, S), (S / 2, S / 2))


@given(st.integers(0, 1000), centres, affines)
@settings(max_examples=40, deadline=None)
def test_image_agrees_with_looking_up_every_pixel(
    seed: int, centre: tuple[int, int], affine: Affine
) -> None:
    tiles, matrix = four_tiles(seed, centre), to_output(affine)
    image = render(tiles, matrix, S).image
    assert image.shape == (S, S, 3)
    assert image.dtype == np.uint8
    difference = np.abs(image - render_slowly(tiles, matrix, S)).max(axis=2)
    points = output_points(matrix, S)
    difference[np.any([on_border(tile, points) for tile in tiles], axis=0)] = 0
    # Rounding, and in OpenCV 4 positions in steps of 1/32 pixel. Tiles that are only moved
    # are resized first: interpolated twice, if they grow.
    moved = np.array_equal(matrix[:2, :2], np.eye(2)) and is_affine(matrix)
    assert difference.max() <= (8 if moved else 2)


@example(0, (32, 43), Affine(degrees=90.0, scale=1.5))  # a border through centres of pixels
@given(st.integers(0, 1000), centres, affines)
@settings(max_examples=40, deadline=None)
def test_masks_agree_with_looking_up_every_pixel(
    seed: int, centre: tuple[int, int], affine: Affine
) -> None:
    tiles, matrix = four_tiles(seed, centre), to_output(affine)
    sample = render(tiles, matrix, S)
    points = output_points(matrix, S)

    def seen(tile: Tile, parts: tuple[Part, ...], shift: tuple[float, float]) -> np.ndarray:
        moved = points + np.array(shift)
        return contains(parts, own_points(tile, moved)) & inside_region(tile, moved)

    # Where an edge runs through centres of pixels, rounding decides: those are not compared.
    shifts = [(dx, dy) for dx in (-1e-4, 1e-4) for dy in (-1e-4, 1e-4)]
    expected = []
    for tile in tiles:
        for parts in tile.sample.polygons:
            near = np.array([seen(tile, parts, shift) for shift in shifts])
            if near.any():
                expected.append((near.all(0), near.all(0) | ~near.any(0)))
    masks = list(rasterise(sample.polygons, (S, S)))
    # Kept is what is large enough; nothing else than what is there.
    for mask in masks:
        assert min(((inside ^ mask) & sure).sum() for inside, sure in expected) == 0
    assert len(masks) >= sum(inside.sum() > 60 for inside, _ in expected)
    assert len(sample.labels) == len(masks)


@given(centres, affines)
@settings(max_examples=40, deadline=None)
def test_tiles_meet_without_gap_or_overlap(centre: tuple[int, int], affine: Affine) -> None:
    samples = [empty_sample(S, S, value) for value in (10, 60, 180, 240)]
    tiles, matrix = mosaic_tiles(samples, Mosaic(centre, (1, 2, 3)), S), to_output(affine)
    image = render(tiles, matrix, S).image
    expected = render_slowly(tiles, matrix, S)
    points = output_points(matrix, S)
    border = np.any([on_border(tile, points) for tile in tiles], axis=0)
    np.testing.assert_array_equal(image[~border], expected[~border])
    canvas = (points - np.array(centre) + S).min(-1), (np.array(centre) + S - points).min(-1)
    covered = (np.minimum(*canvas) > 1e-6) & (points.min(-1) > 1e-6) & (points.max(-1) < 2 * S)
    assert not (image[covered] == GREY).any()


@given(
    st.floats(90, 160),
    st.floats(90, 160),
    st.floats(-180, 180),
    st.sampled_from([0.3, 0.45, 0.6, 1.0, 1.5]),
    st.sampled_from([256, 320, 200]),
)
@settings(max_examples=30, deadline=None)
def test_disc_stays_in_step_with_its_outline(
    x: float, y: float, degrees: float, scale: float, imgsz: int
) -> None:
    sample = disc_sample(x, y, 70, size=256)
    tile = whole_tile(sample, imgsz)
    middle = (imgsz / 2, imgsz / 2)
    warped = render([tile], affine_matrix(Affine(degrees, scale), imgsz, middle, middle), imgsz)
    bright = warped.image[..., 0] >= 128
    (mask,) = rasterise(warped.polygons, (imgsz, imgsz))
    radius = 70 * scale * imgsz / 256
    assert (bright & mask).sum() / (bright | mask).sum() > (0.98 if radius > 40 else 0.95)
    centroid = np.argwhere(bright).mean(axis=0) - np.argwhere(mask).mean(axis=0)
    assert np.abs(centroid).max() < 0.1


def test_nothing_changes_without_a_change() -> None:
    for sample in (smooth_sample(0, 48, 64), smooth_sample(1, 17, 40), smooth_sample(2, 99, 200)):
        size = fit_size(sample.image.shape[:2], S)
        result = render([whole_tile(sample, S)], np.eye(3), S)
        letterboxed = pad_image(resize_image(sample.image, size), (S, S), (GREY, GREY, GREY))
        np.testing.assert_array_equal(result.image, letterboxed)
        expected = polygons_to_boxes(sample.polygons) * S / max(sample.image.shape)
        np.testing.assert_allclose(polygons_to_boxes(result.polygons), expected, atol=0.5)


def test_fine_stripes_do_not_alias_when_shrinking() -> None:
    image = np.zeros((S, S, 3), dtype=np.uint8)
    image[:, ::4] = 200
    sample = Sample(image, (), np.zeros(0, dtype=np.int64))
    middle = (S / 2, S / 2)
    matrix = affine_matrix(Affine(degrees=0, scale=0.25), S, middle, middle)
    inner = render([whole_tile(sample, S)], matrix, S).image[26:38, 26:38]
    assert np.ptp(inner) <= 2
    assert abs(inner.mean() - 50) <= 2


def test_holes_and_parts_survive() -> None:
    sample = smooth_sample(0)
    middle = (S / 2, 24.0)
    matrix = affine_matrix(Affine(degrees=20, scale=0.7), S, middle, middle)
    result = render([whole_tile(sample, S)], matrix, S)
    assert [len(parts) for parts in result.polygons] == [3, 1]
    assert result.labels.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("radius", "shift", "kept"),
    [
        (10.0, 0.0, True),
        (0.9, 0.0, False),  # 1.8 px wide
        (1.1, 0.0, True),
        (30.0, 60.0, False),  # 2 px are left of 60
        (30.0, 58.0, True),
        (30.0, 80.0, False),  # nothing is left
    ],
)
def test_small_remains_are_dropped(radius: float, shift: float, kept: bool) -> None:
    tile = whole_tile(
        Sample(
            np.zeros((S, S, 3), dtype=np.uint8),
            ((ring_of(32, 32, radius),),),
            np.array([5], dtype=np.int64),
        ),
        S,
    )
    matrix = np.array([[1.0, 0, shift], [0, 1, 0], [0, 0, 1]])
    result = render([tile], matrix, S)
    assert len(result.polygons) == int(kept)
    assert result.labels.tolist() == [5] * kept


def test_less_than_a_hundredth_of_the_box_is_dropped() -> None:
    wide = np.array([[0, 20], [64, 20], [64, 60], [0, 60]], dtype=np.float32)
    tile = whole_tile(
        Sample(np.zeros((S, S, 3), np.uint8), ((wide,),), np.array([0], dtype=np.int64)), S
    )
    for scale, kept in ((1.1, False), (0.9, True)):
        # 5 px of the corner stay visible, 25 of 64 * 40 pixels times the square of the scale.
        matrix = np.array([[scale, 0, 5 - 64 * scale], [0, scale, 5 - 60 * scale], [0, 0, 1]])
        assert len(render([tile], matrix, S).polygons) == int(kept)


def test_no_instances_and_out_of_sight() -> None:
    tile = whole_tile(empty_sample(30, 60), S)
    away = np.array([[1.0, 0.1, 500], [0, 1, 0], [0, 0, 1]])
    result = render([tile], away, S)
    assert (result.image == GREY).all()
    assert result.polygons == ()
    assert result.labels.shape == (0,)
    assert result.labels.dtype == np.int64


def test_arguments_are_not_changed() -> None:
    sample = smooth_sample(3)
    sample.image.flags.writeable = False
    for parts in sample.polygons:
        for part in parts:
            part.flags.writeable = False
    render([whole_tile(sample, S)], np.array([[1.0, 0.1, 3], [-0.1, 1, 0], [0, 0, 1]]), S)
    render([whole_tile(sample, S)], np.eye(3), S)


def test_opencv_threads_do_not_matter() -> None:
    tiles, matrix = four_tiles(0, (70, 60)), to_output(Affine(degrees=7))
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(0)
        alone = render(tiles, matrix, S).image
        cv2.setNumThreads(2)
        np.testing.assert_array_equal(alone, render(tiles, matrix, S).image)
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("degrees", [0.0, 2.0, -7.0, 45.0, 88.0])
def test_the_rim_of_a_tile_is_exactly_its_own(degrees: float) -> None:
    """Tiles larger than the bands in which what lies around them is kept."""
    size = 320
    samples = [empty_sample(size, size, value) for value in (10, 60, 180, 240)]
    tiles = mosaic_tiles(samples, Mosaic((330, 290), (1, 2, 3)), size)
    change = Affine(degrees, 0.7, (0.0, 0.0), (0.05, -0.03))
    matrix = affine_matrix(change, size, (size, size), (size / 2, size / 2))
    image = render(tiles, matrix, size).image
    expected = render_slowly(tiles, matrix, size)
    points = output_points(matrix, size)
    border = np.any([on_border(tile, points) for tile in tiles], axis=0)
    np.testing.assert_array_equal(image[~border], expected[~border])
