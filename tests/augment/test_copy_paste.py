from __future__ import annotations

import numpy as np
import pytest
from augment_references import contains, output_points, ring_of, smooth_sample
from hypothesis import given, settings
from hypothesis import strategies as st

from crispmask.augment.affine import Affine, affine_matrix, mirror
from crispmask.augment.copy_paste import choose_pasted
from crispmask.augment.mosaic import Mosaic, mosaic_tiles
from crispmask.augment.paint import paint
from crispmask.augment.pipeline import make_scene
from crispmask.augment.tiles import whole_tile
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Sample

S = 64


def rectangle(x1: float, y1: float, x2: float, y2: float) -> Part:
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], dtype=np.float32)


def test_chosen_are_those_whose_mirror_image_covers_no_box_by_a_third() -> None:
    polygons = (
        (rectangle(0, 0, 10, 10),),  # mirrored to 90..100: free
        (rectangle(40, 0, 60, 10),),  # its own mirror image
        (rectangle(20, 20, 30, 30),),  # mirrored to 70..80, half over the next one
        (rectangle(75, 20, 85, 30),),  # mirrored to 15..25, half over the one before
        (),
        (rectangle(0, 40, 10, 50),),  # mirrored to 90..100, two tenths over the next one
        (rectangle(82, 40, 92, 50),),  # mirrored to 8..18, two tenths over the one before
    )
    assert choose_pasted(polygons, 100, 1.0) == [0, 5, 6]
    assert choose_pasted(polygons, 100, 0.5) == [0, 5]  # 1.5 rounds up
    assert choose_pasted(polygons, 100, 0.1) == []
    assert choose_pasted((), 100, 1.0) == []
    assert choose_pasted(((),), 100, 1.0) == []


def test_pasted_pixels_are_the_mirrored_ones_under_the_mask() -> None:
    sample = smooth_sample(1, S, S)
    hole = (ring_of(14, 30, 10), ring_of(14, 30, 5), ring_of(20, 55, 4))
    sample = Sample(sample.image, (hole,), np.array([7], dtype=np.int64), 3)
    scene = make_scene([whole_tile(sample, S)], np.eye(3), S, width=S, copy_paste=1.0)
    image = paint(scene.layers, S)[..., :3]
    first, second = rasterise(scene.polygons, (S, S))
    assert scene.labels.tolist() == [7, 7]
    assert [len(parts) for parts in scene.polygons] == [3, 3]
    assert (second != first[:, ::-1]).sum() <= 8  # edges through pixel centres
    mirrored = sample.image[:, ::-1]
    np.testing.assert_array_equal(image[second], mirrored[second])
    np.testing.assert_array_equal(image[~second], sample.image[~second])


@given(
    st.integers(0, 1000),
    st.tuples(st.integers(S // 2, 3 * S // 2), st.integers(S // 2, 3 * S // 2)),
    st.sampled_from([0.0, 15.0, -70.0]),
    st.sampled_from([0.53, 0.9, 1.4]),  # at 0.5 whole edges run through pixel centres
    st.sampled_from([(0.0, 0.0), (1e-3, -1e-3)]),
)
@settings(max_examples=30, deadline=None)
def test_pasted_masks_agree_with_looking_up_every_pixel(
    seed: int,
    centre: tuple[int, int],
    degrees: float,
    scale: float,
    perspective: tuple[float, float],
) -> None:
    samples = [smooth_sample(seed + k, 40 + 6 * k, 64 - 9 * k, index=k) for k in range(4)]
    tiles = mosaic_tiles(samples, Mosaic(centre, (1, 2, 3)), S)
    change = Affine(degrees, scale, perspective=perspective)
    matrix = affine_matrix(change, S, (S, S), (S / 2, S / 2))
    plain = make_scene(tiles, matrix, S)
    scene = make_scene(tiles, matrix, S, width=2 * S, copy_paste=1.0)
    count = len(plain.polygons)
    assert len(scene.layers) == 4 + len(scene.polygons) - count
    assert scene.labels[:count].tolist() == plain.labels.tolist()
    instances = [parts for tile in tiles for parts in tile.instances()]
    points = output_points(matrix @ mirror(width=2 * S), S)
    expected = [contains(instances[i], points) for i in choose_pasted(tuple(instances), 2 * S, 1)]
    for mask in rasterise(scene.polygons[count:], (S, S)):
        assert min(int((mask ^ other).sum()) for other in expected) <= 4
    covered = rasterise(scene.polygons[count:], (S, S)).any(axis=0)
    before, after = paint(plain.layers, S), paint(scene.layers, S)
    np.testing.assert_array_equal(before[~covered], after[~covered])


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_nothing_to_paste(fraction: float) -> None:
    empty = Sample(np.zeros((S, S, 3), np.uint8), (), np.zeros(0, dtype=np.int64), 0)
    scene = make_scene([whole_tile(empty, S)], np.eye(3), S, S, fraction)
    assert scene.polygons == ()
    assert scene.labels.shape == (0,)
    assert len(scene.layers) == 1
