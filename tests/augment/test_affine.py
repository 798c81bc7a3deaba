from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crispmask.augment.affine import Affine, affine_matrix, draw_affine, is_affine, mirror
from crispmask.config import AugmentConfig

affines = st.builds(
    Affine,
    degrees=st.floats(-180, 180),
    scale=st.floats(0.1, 3),
    shear=st.tuples(st.floats(-40, 40), st.floats(-40, 40)),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    perspective=st.tuples(st.floats(-1e-3, 1e-3), st.floats(-1e-3, 1e-3)),
)


def test_draws_stay_in_the_ranges_of_the_flags() -> None:
    config = AugmentConfig(degrees=10, scale=0.25, shear=5, translate=0.2, perspective=5e-4)
    rng = np.random.default_rng(0)
    drawn = [draw_affine(config, rng) for _ in range(2000)]
    for values, low, high in (
        ([a.degrees for a in drawn], -10, 10),
        ([a.scale for a in drawn], 0.75, 1.25),
        ([v for a in drawn for v in a.shear], -5, 5),
        ([v for a in drawn for v in a.shift], -0.2, 0.2),
        ([v for a in drawn for v in a.perspective], -5e-4, 5e-4),
    ):
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values) <= high


def test_zero_ranges_draw_the_identity() -> None:
    affine = draw_affine(AugmentConfig.none(), np.random.default_rng(0))
    assert affine == Affine()
    matrix = affine_matrix(affine, 64, (32.0, 24.0), (32.0, 24.0))
    np.testing.assert_array_equal(matrix, np.eye(3))


def test_quarter_turn_takes_right_to_down() -> None:
    matrix = affine_matrix(Affine(degrees=90, scale=2), 10, (5.0, 5.0), (5.0, 5.0))
    np.testing.assert_allclose(matrix @ [6, 5, 1], [5, 7, 1], atol=1e-12)


@given(affines)
def test_matrix_is_the_product_of_the_single_steps(affine: Affine) -> None:
    def step(*rows: tuple[float, float, float]) -> np.ndarray:
        return np.array([*rows, (0, 0, 1)])

    a = math.radians(affine.degrees)
    kx, ky = (math.tan(math.radians(v)) for v in affine.shear)
    centre = step((1, 0, -64), (0, 1, -48))
    tilt = np.array([(1, 0, 0), (0, 1, 0), (*affine.perspective, 1)])
    rotation = step((math.cos(a), -math.sin(a), 0), (math.sin(a), math.cos(a), 0))
    scale = step((affine.scale, 0, 0), (0, affine.scale, 0))
    shear = step((1, kx, 0), (ky, 1, 0))
    target = step((1, 0, 32 + affine.shift[0] * 64), (0, 1, 32 + affine.shift[1] * 64))
    expected = target @ shear @ scale @ rotation @ tilt @ centre
    matrix = affine_matrix(affine, 64, (64.0, 48.0), (32.0, 32.0))
    np.testing.assert_allclose(matrix, expected, atol=1e-9)
    assert is_affine(matrix) == (affine.perspective == (0, 0))
    assert np.linalg.det(matrix) == pytest.approx(affine.scale**2 * (1 - kx * ky), abs=1e-6)


def test_mirrors() -> None:
    point = np.array([2.0, 3.0, 1.0])
    assert (mirror() @ point).tolist() == [2, 3, 1]
    assert (mirror(width=10) @ point).tolist() == [8, 3, 1]
    assert (mirror(height=8) @ point).tolist() == [2, 5, 1]
    assert (mirror(10, 8) @ mirror(10, 8) @ point).tolist() == [2, 3, 1]
