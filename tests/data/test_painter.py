"""The painter of torch paints what OpenCV paints; on the CPU, as on any device."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crispmask.augment.colour import Colours, change_colours, tables_of
from crispmask.augment.picture import Unpainted, unpainted
from crispmask.augment.pipeline import Pipeline
from crispmask.config import AugmentConfig
from crispmask.data import device_pixels
from crispmask.data.dataset import TrainDataset
from crispmask.data.device_images import DeviceImages, decode_to_device
from crispmask.data.index import DatasetIndex
from crispmask.data.loader import BatchLoader, train_loader
from crispmask.data.painter import Painter
from crispmask.data.pixels import Layout, layout_of, load_image
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.errors import DatasetError
from crispmask.geometry.letterbox import resize_image
from crispmask.types import Batch, Sample

S = 96
CPU = torch.device("cpu")

fractions = st.floats(0, 1)
configs = st.builds(
    AugmentConfig,
    mosaic=st.sampled_from([0.0, 1.0]),
    mixup=st.sampled_from([0.0, 1.0]),
    hsv_h=st.sampled_from([0.0, 0.015, 0.5]),
    hsv_s=st.floats(0, 1),
    hsv_v=st.floats(0, 1),
    brightness=st.floats(0, 0.4),
    contrast=st.floats(0, 0.4),
    degrees=st.sampled_from([0.0, 2.0, 180.0]),
    translate=st.floats(0, 0.3),
    scale=st.floats(0, 0.9),
    shear=st.sampled_from([0.0, 20.0]),
    perspective=st.sampled_from([0.0, 0.001]),
    copy_paste=fractions,
    fliplr=fractions,
    flipud=fractions,
)


def square(x: float, y: float, side: float) -> NDArray[np.float32]:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float32)


def sample_of(index: int, coarse: int = 5) -> Sample:
    """Soft colours, smaller and larger than the output, with two instances."""
    rng = np.random.default_rng(index)
    height, width = [(96, 70), (40, 96), (96, 96), (30, 20)][index]
    noise = rng.integers(0, 256, (coarse, coarse, 3)).astype(np.uint8)
    image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    side = min(height, width) / 4
    polygons = ((square(side, side, side),), (square(2.2 * side, 2 * side, 1.5 * side),))
    return Sample(image, polygons, np.array([0, 1], dtype=np.int64), index)


def on_cpu(samples: list[Sample]) -> DeviceImages:
    sizes = np.array([sample.image.shape[:2] for sample in samples], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(3 * sizes.prod(axis=1))])
    pixels = np.concatenate([sample.image.ravel() for sample in samples])
    return DeviceImages(Layout(sizes, offsets), torch.from_numpy(pixels), {})


PAINTER = Painter(on_cpu([sample_of(i) for i in range(4)]))


def both(config: AugmentConfig, seed: int, index: int) -> tuple[Sample, Unpainted]:
    pipeline = Pipeline(config, S)
    arguments = (sample_of, index, range(4))
    painted = pipeline(*arguments, np.random.default_rng(seed))
    return painted, unpainted(pipeline.plan(*arguments, np.random.default_rng(seed)))


@given(configs, st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_pixels_are_those_of_opencv(config: AugmentConfig, seed: int, index: int) -> None:
    sample, other = both(config, seed, index)
    image = PAINTER([other.picture])[0].permute(1, 2, 0).numpy()
    difference = np.abs(image.astype(int) - sample.image)
    assert difference.mean() < 0.5
    assert np.quantile(difference, 0.99) <= 4


@given(configs, st.integers(0, 2**32 - 1), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_instances_are_the_same_to_the_bit(config: AugmentConfig, seed: int, index: int) -> None:
    sample, other = both(config, seed, index)
    assert other.index == sample.index
    np.testing.assert_array_equal(other.labels, sample.labels)
    for ours, theirs in zip(other.polygons, sample.polygons, strict=True):
        for part, its in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(part, its)


def test_nothing_drawn_is_the_letterboxed_image_to_the_bit() -> None:
    for index in range(4):
        sample, other = both(AugmentConfig.none(), 0, index)
        image = PAINTER([other.picture])[0].permute(1, 2, 0).numpy()
        # Small images are enlarged: by OpenCV with weights of 11 bits.
        assert np.abs(image.astype(int) - sample.image).max() <= (index in (3,))


def test_pictures_of_a_batch_do_not_mix() -> None:
    config = AugmentConfig(mosaic=0.5, mixup=0.5, copy_paste=1.0, degrees=20)
    pictures = [both(config, seed, seed % 4)[1].picture for seed in range(8)]
    images = PAINTER(pictures)
    assert images.shape == (8, 3, S, S)
    assert images.is_contiguous(memory_format=torch.channels_last)
    for image, picture in zip(images, pictures, strict=True):
        assert torch.equal(image, PAINTER([picture])[0])


@given(
    st.integers(0, 1000),
    st.builds(Colours, *[st.sampled_from([0.0, -0.7, -0.2, 0.01, 0.3, 0.5])] * 5),
)
@settings(max_examples=40, deadline=None)
def test_colours_are_those_of_opencv(seed: int, colours: Colours) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    tables = tables_of(colours)
    planes = torch.from_numpy(image).permute(2, 0, 1)
    found = device_pixels.change_colours(planes, tables, torch.from_numpy(tables.levels))
    difference = np.abs(found.permute(1, 2, 0).numpy().astype(int) - change_colours(image, colours))
    # A level of the way back from HSV may round the other way, and contrast widens it. Builds of
    # OpenCV differ in how they round.
    assert difference.max() <= 2
    assert difference.mean() < 0.6


def test_hsv_is_that_of_opencv_for_every_spread_of_colours() -> None:
    red, blue = np.meshgrid(np.arange(256), np.arange(256))
    for green in (0, 1, 77, 128, 254, 255):
        image = np.stack([red, np.full_like(red, green), blue], axis=2).astype(np.uint8)
        found = device_pixels.to_hsv(torch.from_numpy(image).permute(2, 0, 1))
        expected = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        np.testing.assert_array_equal(torch.stack(found).permute(1, 2, 0), expected)


@given(st.integers(0, 1000), st.integers(1, 70), st.integers(1, 70), st.floats(0.1, 2.0))
@settings(max_examples=60, deadline=None)
def test_resizing_is_that_of_opencv(seed: int, height: int, width: int, scale: float) -> None:
    old, new = (height, width), (max(1, int(height * scale)), max(1, int(width * scale)))
    image = np.random.default_rng(seed).integers(0, 256, (*old, 3)).astype(np.uint8)
    found = device_pixels.resize(torch.from_numpy(image).permute(2, 0, 1), new)
    difference = found.permute(1, 2, 0).numpy().astype(int) - resize_image(image, new)
    assert np.abs(difference).max() <= 1


def loader(
    index: DatasetIndex, workers: int, painted_here: bool, strict: bool = True
) -> BatchLoader:
    augment = AugmentConfig(mosaic=0.7, mixup=0.3, copy_paste=0.5, perspective=5e-4, degrees=30)
    images = None
    if painted_here:
        layout = layout_of(index, 64)
        images = decode_to_device(index, 64, layout, CPU, None, lambda done: None)
    dataset = TrainDataset(
        index,
        64,
        augment,
        0,
        5,
        pixels=images and images.blanks(),
        strict=strict,
        unpainted=painted_here,
    )
    painter = Painter(images) if images else None
    return train_loader(dataset, 2, workers, 4, (114.0, 114.0, 114.0), seed=0, painter=painter)


def same_targets(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(a.targets.labels, b.targets.labels)
        and torch.equal(a.targets.boxes, b.targets.boxes)
        and torch.equal(a.targets.masks, b.targets.masks)
        and replace(a.targets, labels=0, boxes=0, masks=0)
        == replace(b.targets, labels=0, boxes=0, masks=0)
        and (a.indices, a.original_sizes) == (b.indices, b.original_sizes)
    )


def test_batches_are_those_of_workers_that_paint(yolo_dataset) -> None:
    index = build_index(read_spec(yolo_dataset(num_train=6, size=(96, 130))).train, 3)
    loaders = [loader(index, 0, False), loader(index, 0, True), loader(index, 2, True)]
    for epoch in (0, 7):
        for each in loaders:
            each.set_epoch(epoch)
        for usual, painted, by_workers in zip(*loaders, strict=True):
            assert same_targets(usual, painted)
            assert same_targets(usual, by_workers)
            assert torch.equal(painted.images, by_workers.images)
            difference = (usual.images.int() - painted.images.int()).abs().float()
            assert difference.mean() < 1


def test_a_later_epoch_does_not_depend_on_the_ones_before(yolo_dataset) -> None:
    index = build_index(read_spec(yolo_dataset(num_train=4)).train, 3)
    whole, resumed = loader(index, 0, True), loader(index, 0, True)
    batches = []
    for epoch in (0, 1, 2):
        whole.set_epoch(epoch)
        batches = list(whole)
    resumed.set_epoch(2)
    for a, b in zip(batches, resumed, strict=True):
        assert torch.equal(a.images, b.images)
        assert same_targets(a, b)


def test_an_image_that_cannot_be_read(yolo_dataset) -> None:
    index = build_index(read_spec(yolo_dataset(num_train=4, with_background=False)).train, 3)
    damaged = index.path(1)
    damaged.write_bytes(damaged.read_bytes()[:-40])  # its header is fine
    with pytest.raises(DatasetError, match=damaged.name):
        load_image(index, 1, 64, quick=True)
    with pytest.raises(DatasetError, match=damaged.name):
        list(loader(index, 0, True))
    lenient = loader(index, 0, True, strict=False)
    usual = loader(index, 0, False, strict=False)
    for a, b in zip(lenient, usual, strict=True):
        assert same_targets(a, b)
    assert lenient.unreadable == usual.unreadable == {str(damaged)}
