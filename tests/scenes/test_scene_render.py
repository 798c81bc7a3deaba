from __future__ import annotations

import numpy as np
import pytest

from crispmask.data.scenes import noise
from crispmask.data.scenes.grounds import draw_ground
from crispmask.data.scenes.layout import draw_layout, fine_masks, visible_instances
from crispmask.data.scenes.render import render
from crispmask.geometry.raster import rasterise


@pytest.mark.parametrize("index", [0, 2, 4, 7, 9])
def test_photograph_has_the_size_of_the_layout(index: int) -> None:
    layout = draw_layout(np.random.default_rng(index), 96, index)
    masks = fine_masks(layout)
    image = render(layout, masks, np.random.default_rng(index))
    assert image.shape == (*layout.size, 3)
    assert image.dtype == np.uint8
    assert 20 < image.mean() < 235
    assert image.std() > 3


def test_objects_differ_from_the_same_place_without_them() -> None:
    layout = draw_layout(np.random.default_rng(3), 128, 0)
    masks = fine_masks(layout)
    polygons, _ = visible_instances(layout, masks)
    image = render(layout, masks, np.random.default_rng(5)).astype(int)
    bare = type(layout)(layout.size, layout.tilt, ())
    ground = render(bare, [], np.random.default_rng(5)).astype(int)
    for mask in rasterise(polygons, layout.size):
        assert np.abs(image - ground)[mask].mean() > 10


@pytest.mark.parametrize("seed", range(12))
def test_ground_is_finite_and_fills_the_image(seed: int) -> None:
    albedo, relief = draw_ground(np.random.default_rng(seed), (40, 60), 0.8)
    assert albedo.shape == (40, 60, 3)
    assert relief.shape == (40, 60)
    assert np.isfinite(albedo).all()
    assert np.isfinite(relief).all()
    assert 0.005 < albedo.mean() < 1


def test_fractal_noise_is_normalised() -> None:
    field = noise.fractal_noise(np.random.default_rng(0), (200, 300), 10, 4)
    assert field.shape == (200, 300)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.2
    assert 0.6 < field.std() < 1.4


def test_slopes_of_a_plane() -> None:
    y, x = np.mgrid[:8, :9].astype(np.float32)
    dx, dy = noise.slopes(2 * x - 3 * y)
    np.testing.assert_allclose(dx[1:-1, 1:-1], 2, atol=1e-5)
    np.testing.assert_allclose(dy[1:-1, 1:-1], -3, atol=1e-5)


def test_mix_and_step() -> None:
    black, white = noise.colour(0, 0, 0), noise.colour(255, 255, 255)
    amount = np.array([[-1, 0.25, 2]], np.float32)
    np.testing.assert_allclose(noise.mix(black, white, amount)[0, :, 0], [0, 0.25, 1])
    np.testing.assert_allclose(noise.step(np.float32([0, 1, 2, 3]), 1, 2), [0, 0, 1, 1])
    np.testing.assert_allclose(noise.step(np.float32([0, 1, 2, 3]), 2, 1), [1, 1, 0, 0])
