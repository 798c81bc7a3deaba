from __future__ import annotations

import numpy as np
from augment_references import empty_sample

from crispmask.augment.mosaic import Mosaic, draw_mosaic, mosaic_tiles


def test_centre_covers_the_middle_half_and_partners_all_samples() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_mosaic(20, [4, 7, 9, 11, 12], rng) for _ in range(1000)]
    assert {m.centre[0] for m in drawn} == set(range(10, 31))
    assert {m.centre[1] for m in drawn} == set(range(10, 31))
    for k in range(3):
        assert {m.partners[k] for m in drawn} == {4, 7, 9, 11, 12}


def test_partners_of_a_single_sample_are_itself() -> None:
    assert draw_mosaic(20, range(1), np.random.default_rng(0)).partners == (0, 0, 0)


def test_tiles_touch_the_centre_and_end_at_the_canvas() -> None:
    sizes = ((20, 10), (10, 20), (20, 20), (40, 20))
    samples = [empty_sample(*size) for size in sizes]
    tiles = mosaic_tiles(samples, Mosaic((12, 28), (1, 2, 3)), imgsz=20)
    assert [tile.size for tile in tiles] == [(20, 10), (10, 20), (20, 20), (20, 10)]
    assert [tile.offset for tile in tiles] == [(2, 8), (12, 18), (-8, 28), (12, 28)]
    assert [tile.region for tile in tiles] == [
        (2, 8, 12, 28),
        (12, 18, 32, 28),
        (0, 28, 12, 40),
        (12, 28, 22, 40),
    ]
