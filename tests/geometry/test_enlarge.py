"""Runs along the outline against every pixel, and against two bilinear steps of torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from crispmask.geometry.enlarge import dense_mask, runs_of_soft_masks
from crispmask.geometry.mask_runs import runs_of
from crispmask.geometry.rle import encode_masks
from crispmask.geometry.taps import make_taps
from crispmask.types import Size


def random_soft(rng: np.random.Generator, size: Size) -> np.ndarray:
    """Smooth blobs, noise, constants, and values that are exactly the threshold."""
    kind = rng.integers(5)
    if kind == 0:
        return rng.random(size, dtype=np.float32)
    if kind == 1:
        return np.full(size, rng.choice([0.0, 0.5, 1.0]), dtype=np.float32)
    if kind == 2:
        return rng.choice(np.float32([0, 0.5, 1]), size)
    y, x = np.mgrid[: size[0], : size[1]]
    cy, cx, radius = rng.uniform(-2, size[0] + 2), rng.uniform(-2, size[1] + 2), rng.uniform(0, 9)
    logits = (radius - np.hypot(y - cy, x - cx)) * rng.choice([0.3, 2, 30])
    return (1 / (1 + np.exp(-logits.clip(-60, 60)))).astype(np.float32)


def random_sizes(rng: np.random.Generator) -> tuple[Size, int, Size, Size]:
    h, w = (int(v) for v in rng.integers(1, 24, 2))
    stride = int(rng.choice([1, 4, 8]))
    valid = (int(rng.integers(1, h * stride + 1)), int(rng.integers(1, w * stride + 1)))
    original = valid if rng.random() < 0.3 else tuple(int(v) for v in rng.integers(1, 150, 2))
    return (h, w), stride, valid, original


@pytest.mark.parametrize("block", range(8))
def test_equal_to_every_pixel_bit_by_bit(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        rng = np.random.default_rng(seed)
        grid, stride, valid, original = random_sizes(rng)
        soft = random_soft(rng, grid)
        threshold = float(rng.choice([0.5, 0.0, 0.25]))
        found = runs_of_soft_masks([soft], threshold, stride, valid, original)
        mask = dense_mask(soft, threshold, stride, valid, original)
        np.testing.assert_array_equal(found.dense()[0], mask)
        np.testing.assert_array_equal(found.spans[0], runs_of(mask[None], original).spans[0])
        assert found.to_coco() == encode_masks(mask[None])


@pytest.mark.parametrize("seed", range(30))
def test_pixels_computed_in_small_parts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    grid, stride, valid, original = random_sizes(rng)
    soft = random_soft(rng, grid)
    mask = dense_mask(soft, 0.5, stride, valid, original)
    monkeypatch.setattr("crispmask.geometry.enlarge._CHUNK_PIXELS", int(rng.integers(1, 40)))
    found = runs_of_soft_masks([soft], 0.5, stride, valid, original)
    np.testing.assert_array_equal(found.spans[0], runs_of(mask[None], original).spans[0])


@pytest.mark.parametrize("seed", range(60))
def test_differs_from_two_steps_of_torch_by_rounding_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (h, w), stride, valid, original = random_sizes(rng)
    soft = random_soft(rng, (h, w))
    x = torch.from_numpy(soft)[None, None]
    x = F.interpolate(x, (h * stride, w * stride), mode="bilinear", align_corners=False)
    x = x[..., : valid[0], : valid[1]]
    if original != valid:
        x = F.interpolate(x, original, mode="bilinear", align_corners=False)
    exact = x[0, 0].numpy()
    mask = runs_of_soft_masks([soft], 0.5, stride, valid, original).dense()[0]
    clear = np.abs(exact - 0.5) > 2e-5
    np.testing.assert_array_equal(mask[clear], exact[clear] > 0.5)


def test_weights_add_up_to_one() -> None:
    for coarse, stride, valid, original in ((160, 4, 640, 768), (80, 8, 637, 3000), (9, 4, 30, 7)):
        taps = make_taps(coarse, stride, valid, original)
        np.testing.assert_allclose(taps.weights.sum(0), 1, atol=1e-6)
        assert (taps.weights >= 0).all()
        assert (np.diff(taps.first) >= 0).all()


def test_infinite_logits_are_inside_or_outside() -> None:
    soft = np.full((8, 8), -np.inf, dtype=np.float32)
    soft[2:5, 2:5] = np.inf
    mask = runs_of_soft_masks([soft], 0.0, 4, (32, 32), (32, 32)).dense()[0]
    assert mask[10:18, 10:18].all()
    assert not mask[:5].any()


def test_no_masks() -> None:
    assert runs_of_soft_masks([], 0.5, 4, (32, 32), (64, 64)).shape == (0, 64, 64)
