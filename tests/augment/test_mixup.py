from __future__ import annotations

import numpy as np
from augment_references import smooth_sample

from crispmask.augment.mixup import blend, draw_mixup_ratio


def test_ratio_is_beta_32_32() -> None:
    rng = np.random.default_rng(0)
    ratios = np.array([draw_mixup_ratio(rng) for _ in range(4000)])
    assert abs(ratios.mean() - 0.5) < 0.005
    assert abs(ratios.var() - 1 / (4 * 65)) < 0.0004  # a b / ((a + b)^2 (a + b + 1))


def test_blend_weighs_pixels() -> None:
    first, second = smooth_sample(0).image, smooth_sample(1).image
    mixed = blend(first, second, 0.25)
    expected = 0.25 * first.astype(float) + 0.75 * second
    assert np.abs(mixed - expected).max() <= 0.5001
    assert mixed.dtype == np.uint8
