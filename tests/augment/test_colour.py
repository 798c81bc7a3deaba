from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.augment.colour import (
    Colours,
    change_colours,
    change_contrast,
    change_hsv,
    draw_colours,
)
from crispmask.config import AugmentConfig

NOISE = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)


def test_no_change_keeps_the_image() -> None:
    assert change_colours(NOISE, Colours()) is NOISE


def test_draws_stay_in_the_ranges_of_the_flags() -> None:
    config = AugmentConfig(brightness_contrast_p=0.5, brightness=0.3, contrast=0.1)
    rng = np.random.default_rng(0)
    drawn = [draw_colours(config, rng) for _ in range(2000)]
    for name, limit in (
        ("hue", 0.015),
        ("saturation", 0.7),
        ("value", 0.4),
        ("contrast", 0.1),
        ("brightness", 0.3),
    ):
        values = np.array([getattr(colours, name) for colours in drawn])
        assert 0.95 * limit < np.abs(values).max() <= limit
        assert abs(values.mean()) < 0.1 * limit
    unchanged = [colours.contrast == colours.brightness == 0 for colours in drawn]
    assert 0.45 < np.mean(unchanged) < 0.55
    assert draw_colours(AugmentConfig.none(), rng) == Colours()


@given(st.floats(-0.5, 0.5), st.floats(-0.7, 0.7), st.floats(-0.4, 0.4))
@settings(max_examples=25, deadline=None)
def test_hsv_agrees_with_the_standard_library(h: float, s: float, v: float) -> None:
    image = NOISE[:4, :4]
    changed = change_hsv(image, h, s, v)
    for old, new in zip(image.reshape(-1, 3) / 255, changed.reshape(-1, 3), strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*old)
        expected = colorsys.hsv_to_rgb(
            (hue + h) % 1, min(saturation * (1 + s), 1), min(value * (1 + v), 1)
        )
        # Eight bits hold hue in steps of 2 degrees: two roundings of it are up to 17 levels.
        assert np.abs(new - 255 * np.array(expected)).max() < 20


def test_grey_keeps_its_colour() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    changed = change_hsv(grey, 0.3, 0.7, 0.1).astype(int)
    assert (changed.max(axis=2) == changed.min(axis=2)).all()


@pytest.mark.parametrize(
    ("contrast", "brightness", "old", "new"),
    [(0.2, 0.0, 100, 120), (0.0, -0.2, 100, 49), (0.2, 0.2, 250, 255), (-0.2, -0.2, 10, 0)],
)
def test_contrast_then_brightness(contrast: float, brightness: float, old: int, new: int) -> None:
    image = np.full((2, 3, 3), old, dtype=np.uint8)
    assert (change_contrast(image, contrast, brightness) == new).all()


STEPS = st.one_of(st.integers(-20, 20), st.integers(-1000, 1000)).map(lambda k: k / 1000)


@given(STEPS, st.floats(-1, 1), st.floats(-0.9, 1))
@settings(max_examples=60, deadline=None)
def test_hsv_agrees_with_tables_of_256_entries(h: float, s: float, v: float) -> None:
    x = np.arange(256)
    tables = [(x + 180 * h) % 180, x * (1 + s), x * (1 + v)]
    table = np.stack(tables, axis=1).clip(0, 255).astype(np.uint8)
    expected = cv2.cvtColor(
        cv2.LUT(cv2.cvtColor(NOISE, cv2.COLOR_RGB2HSV), table[None]), cv2.COLOR_HSV2RGB
    )
    difference = np.abs(change_hsv(NOISE, h, s, v).astype(int) - expected)
    # A step of the hue is up to 9 levels: the mirrored circle rounds halves the other way.
    assert difference.max() <= 14
    assert difference.mean() < 1.5


@given(st.floats(-1, 1), st.floats(-1, 1))
@settings(max_examples=60, deadline=None)
def test_contrast_agrees_with_a_table(contrast: float, brightness: float) -> None:
    table = (np.arange(256) * (1 + contrast) + 255 * brightness).round().clip(0, 255)
    difference = change_contrast(NOISE, contrast, brightness) - table[NOISE]
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("channels", [3, 4])
def test_a_fourth_channel_changes_nothing(channels: int) -> None:
    colours = Colours(0.01, 0.5, -0.2, 0.1, 0.1)
    four = np.dstack([NOISE, NOISE[..., :1]])
    for image in (NOISE, four):
        for some in (colours, Colours()):
            result = change_colours(image, some, channels)
            assert result.shape == (16, 16, channels)
            np.testing.assert_array_equal(result[..., :3], change_colours(NOISE, some))
