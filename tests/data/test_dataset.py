from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crispmask.config import AugmentConfig
from crispmask.data.dataset import TrainDataset, ValDataset, load_sample
from crispmask.data.images import read_image
from crispmask.data.index import DatasetIndex
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.geometry.polygons import polygons_to_boxes
from crispmask.types import Sample


def train_index(file: Path) -> DatasetIndex:
    spec = read_spec(file)
    return build_index(spec.train, len(spec.names))


def same(a: Sample, b: Sample) -> bool:
    return (
        np.array_equal(a.image, b.image)
        and np.array_equal(a.labels, b.labels)
        and all(
            np.array_equal(p, q)
            for parts, others in zip(a.polygons, b.polygons, strict=True)
            for p, q in zip(parts, others, strict=True)
        )
    )


def test_load_reduces_but_does_not_enlarge(yolo_dataset) -> None:
    index = train_index(yolo_dataset(size=(48, 64)))
    whole = load_sample(index, 0, 128)
    assert whole.image.shape == (48, 64, 3)
    assert whole.index == 0
    np.testing.assert_array_equal(whole.image, read_image(index.path(0)))
    half = load_sample(index, 0, 32)
    assert half.image.shape == (24, 32, 3)
    np.testing.assert_allclose(
        polygons_to_boxes(half.polygons) * 2, polygons_to_boxes(whole.polygons), rtol=1e-6
    )
    assert load_sample(index, 0, 128, upscale=True).image.shape == (96, 128, 3)
    assert load_sample(index, 0, (24, 640)).image.shape == (24, 32, 3)


def test_validation_samples_fit_and_cover_their_instances(yolo_dataset) -> None:
    index = train_index(yolo_dataset(num_train=2, size=(50, 30)))
    dataset = ValDataset(index, 64)
    assert len(dataset) == 2
    sample = dataset[0]
    assert sample.image.shape == (64, 38, 3)
    boxes = polygons_to_boxes(sample.polygons)
    assert boxes.shape == (3, 4)
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (38, 64)).all()
    assert dataset[1].polygons == ()
    assert dataset[1].labels.shape == (0,)


def test_training_samples_depend_on_seed_epoch_and_position_only(yolo_dataset) -> None:
    index = train_index(yolo_dataset())
    dataset = TrainDataset(index, 64, AugmentConfig(), seed=3, close_mosaic_epoch=2)
    first = dataset[0, 1]
    assert first.image.shape == (64, 64, 3)
    assert first.index == 1
    _ = dataset[1, 4]
    assert same(dataset[0, 1], first)
    again = TrainDataset(index, 64, AugmentConfig(), seed=3, close_mosaic_epoch=2)
    assert same(again[0, 1], first)
    other_seed = TrainDataset(index, 64, AugmentConfig(), seed=4, close_mosaic_epoch=2)
    for other in (dataset[1, 1], dataset[0, 2], other_seed[0, 1]):
        assert not np.array_equal(other.image, first.image)


@pytest.mark.parametrize("closing", [0, 1, 3])
def test_mosaic_and_mixup_stop(yolo_dataset, closing: int) -> None:
    index = train_index(yolo_dataset(with_background=False))
    augment = AugmentConfig(mosaic=1.0, mixup=1.0)
    dataset = TrainDataset(index, 64, augment, seed=0, close_mosaic_epoch=closing)
    single = TrainDataset(index, 64, augment.without_mixing(), seed=0, close_mosaic_epoch=9)
    for epoch in range(4):
        assert same(dataset[epoch, 2], single[epoch, 2]) == (epoch >= closing)


def test_without_augmentation_training_and_validation_see_the_same(yolo_dataset) -> None:
    index = train_index(yolo_dataset(size=(48, 64)))
    train = TrainDataset(index, 64, AugmentConfig.none(), seed=0, close_mosaic_epoch=0)[0, 0]
    val = ValDataset(index, 64)[0]
    np.testing.assert_array_equal(train.image[:48], val.image)
    np.testing.assert_allclose(
        polygons_to_boxes(train.polygons), polygons_to_boxes(val.polygons), atol=1e-4
    )


def test_dataset_of_one_image(yolo_dataset) -> None:
    index = train_index(yolo_dataset(num_train=1))
    sample = TrainDataset(index, 64, AugmentConfig(mixup=1.0), seed=0, close_mosaic_epoch=5)[0, 0]
    assert sample.image.shape == (64, 64, 3)
