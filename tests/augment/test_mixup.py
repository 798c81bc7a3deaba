from __future__ import annotations

import numpy as np
from augment_references import empty_sample, smooth_sample

from crispmask.augment.mixup import draw_mixup_ratio, mix


def test_ratio_is_beta_32_32() -> None:
    rng = np.random.default_rng(0)
    ratios = np.array([draw_mixup_ratio(rng) for _ in range(4000)])
    assert abs(ratios.mean() - 0.5) < 0.005
    assert abs(ratios.var() - 1 / (4 * 65)) < 0.0004  # a b / ((a + b)^2 (a + b + 1))


def test_mix_blends_and_joins() -> None:
    first, second = smooth_sample(0, index=7), smooth_sample(1, index=8)
    mixed = mix(first, second, 0.25)
    expected = 0.25 * first.image.astype(float) + 0.75 * second.image
    assert np.abs(mixed.image - expected).max() <= 0.5001
    assert mixed.image.dtype == np.uint8
    assert mixed.polygons == first.polygons + second.polygons
    assert mixed.labels.tolist() == [2, 0, 2, 0]
    assert mixed.index == 7


def test_mix_of_samples_without_instances() -> None:
    mixed = mix(empty_sample(4, 4), empty_sample(4, 4), 0.5)
    assert mixed.polygons == ()
    assert mixed.labels.shape == (0,)
