from __future__ import annotations

import numpy as np
import pytest
import torch

from crispmask.data.collate import collate
from crispmask.geometry.raster import rasterise
from crispmask.types import Part, Polygons, Sample

PAD = (123.675, 116.28, 103.53)


def square(x: float, y: float, side: float) -> Part:
    corners = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
    return np.array(corners, dtype=np.float32)


def sample(height: int, width: int, *instances: tuple[Part, ...], index: int = 0) -> Sample:
    image = np.random.default_rng(height).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Sample(image, instances, np.arange(len(instances), dtype=np.int64), index)


def test_pads_right_and_below_to_the_largest() -> None:
    samples = [sample(40, 20, (square(0, 0, 8),), index=7), sample(16, 65, index=2)]
    batch = collate(samples, 4, PAD, [(80, 40), (32, 130)])
    assert batch.images.shape == (2, 3, 64, 96)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.indices == (7, 2)
    assert batch.original_sizes == ((80, 40), (32, 130))
    assert batch.targets.valid_sizes == ((40, 20), (16, 65))
    assert batch.targets.counts == (1, 0)
    assert batch.targets.mask_stride == 4
    for image, one in zip(batch.images.permute(0, 2, 3, 1).numpy(), samples, strict=True):
        height, width = one.image.shape[:2]
        np.testing.assert_array_equal(image[:height, :width], one.image)
        assert (image[height:] == (124, 116, 104)).all()
        assert (image[:, width:] == (124, 116, 104)).all()


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_targets_are_the_clipped_instances(stride: int) -> None:
    ring = square(10, 10, 12)
    hole = square(13, 13, 3)
    leaving = square(25, 30, 40)  # the image ends at 32, 40
    polygons: Polygons = ((ring, hole), (leaving,))
    batch = collate([sample(40, 32, *polygons)], stride, PAD, [(40, 32)])
    targets = batch.targets
    assert targets.labels.tolist() == [0, 1]
    assert targets.labels.dtype == torch.int64
    assert targets.boxes.tolist() == [[10, 10, 22, 22], [25, 30, 32, 40]]
    assert targets.boxes.dtype == torch.float32
    assert targets.masks[:].dtype == torch.bool
    assert targets.masks.shape == (2, 64 // stride, 32 // stride)
    expected = rasterise(((ring, hole), (square(25, 30, 10),)), (64, 32), stride)
    expected[1, 40 // stride :] = False
    np.testing.assert_array_equal(targets.masks[:].numpy(), expected)


def test_tiny_instances_stay_and_those_outside_go() -> None:
    tiny, outside, good = (square(1, 1, 0.5),), (square(50, 0, 9),), (square(8, 8, 8),)
    batch = collate([sample(32, 32, tiny, outside, good)], 4, PAD, [(32, 32)])
    assert batch.targets.labels.tolist() == [0, 2]
    assert batch.targets.masks.flatten(1).sum(1).tolist() == [0, 4]
    assert batch.targets.counts == (2,)


def test_no_instances() -> None:
    batch = collate([sample(32, 32), sample(32, 32)], 4, PAD, [(32, 32)] * 2)
    targets = batch.targets
    assert targets.labels.shape == (0,)
    assert targets.boxes.shape == (0, 4)
    assert targets.masks.shape == (0, 8, 8)
    assert targets.masks.dtype == torch.bool
    assert targets.counts == (0, 0)
    assert [labels.shape for labels, _, _ in targets.per_image()] == [(0,), (0,)]


def test_samples_are_not_changed() -> None:
    one = sample(20, 20, (square(10, 10, 50),))
    image, part = one.image.copy(), one.polygons[0][0].copy()
    collate([one], 4, PAD, [(20, 20)]).images.zero_()
    np.testing.assert_array_equal(one.image, image)
    np.testing.assert_array_equal(one.polygons[0][0], part)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2)])
def test_images_that_lie_together_are_not_copied(order: tuple[int, ...]) -> None:
    together = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8).copy()
    none = np.zeros(0, dtype=np.int64)
    samples = [Sample(together[i], (), none, i) for i in order]
    batch = collate(samples, 4, (0.0, 0.0, 0.0), [(64, 64)] * len(order))
    expected = together[list(order)].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(batch.images.numpy(), expected)
    assert np.shares_memory(batch.images.numpy(), together) == (order == (0, 1, 2))
