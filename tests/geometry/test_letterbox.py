from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispmask.geometry.letterbox import fit_size, pad_image, resize_image, round_up
from crispmask.types import Size


@pytest.mark.parametrize(
    ("original", "imgsz", "upscale", "expected"),
    [
        ((480, 640), 320, True, (240, 320)),
        ((480, 640), 1280, True, (960, 1280)),
        ((480, 640), 1280, False, (480, 640)),
        ((480, 640), (320, 320), True, (240, 320)),
        ((480, 640), (200, 800), True, (200, 267)),
        ((480, 640), (200, 800), False, (200, 267)),
        ((1, 1000), 100, True, (1, 100)),
        ((333, 500), 640, True, (426, 640)),
    ],
)
def test_fit_size(original: Size, imgsz: int | Size, upscale: bool, expected: Size) -> None:
    assert fit_size(original, imgsz, upscale) == expected


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 2000))
def test_fit_size_reaches_the_longest_side(height: int, width: int, imgsz: int) -> None:
    fitted = fit_size((height, width), imgsz)
    assert max(fitted) == imgsz
    assert min(fitted) >= 1


def test_resize_keeps_an_image_of_that_size() -> None:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    assert resize_image(image, (4, 6)) is image


def test_resize_averages_when_shrinking() -> None:
    checker = (np.indices((8, 8)).sum(0) % 2 * 200).astype(np.uint8)
    assert (resize_image(checker, (4, 4)) == 100).all()
    assert resize_image(checker[..., None], (16, 4)).shape == (16, 4, 1)


def test_resize_keeps_pixel_centres() -> None:
    ramp = np.tile(np.arange(16, dtype=np.float32) + 0.5, (4, 1))  # the value is x
    wide = resize_image(ramp, (4, 24))
    expected = (np.arange(24) + 0.5) * 16 / 24
    np.testing.assert_allclose(wide[0, 1:-1], expected[1:-1], atol=1e-4)


def test_pad_fills_right_and_bottom() -> None:
    image = np.full((2, 3, 3), 7, dtype=np.uint8)
    padded = pad_image(image, (4, 5), (1, 2, 3))
    assert padded.dtype == np.uint8
    assert (padded[:2, :3] == 7).all()
    assert (padded[2:] == [1, 2, 3]).all()
    assert (padded[:, 3:] == [1, 2, 3]).all()
    as_float = pad_image(image, (2, 4), (0.5, 1.5, 2.5))
    assert as_float.dtype == np.float32
    assert as_float[0, 3].tolist() == [0.5, 1.5, 2.5]
    assert as_float[0, 0].tolist() == [7, 7, 7]


@pytest.mark.parametrize(("x", "expected"), [(0, 0), (1, 32), (32, 32), (33, 64)])
def test_round_up(x: int, expected: int) -> None:
    assert round_up(x, 32) == expected
