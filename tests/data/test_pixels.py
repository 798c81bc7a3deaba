from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from crispmask.config import AugmentConfig
from crispmask.data import pixel_fill
from crispmask.data.dataset import TrainDataset, ValDataset
from crispmask.data.index import DatasetIndex
from crispmask.data.loader import BatchLoader, train_loader, val_loader
from crispmask.data.pixel_fill import (
    cache_folder,
    decode_to_disk,
    decode_to_memory,
    find_on_disk,
    free_disk,
    free_memory,
)
from crispmask.data.pixels import PixelCache, layout_of, load_image, stored_size
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.errors import OutputError
from crispmask.types import Batch

IMGSZ = 64


def index_of_train(file: Path) -> DatasetIndex:
    return build_index(read_spec(file).train, 3)


def quiet(done: int) -> None:
    return


def in_memory(index: DatasetIndex, imgsz: int = IMGSZ, quick: bool = True) -> PixelCache:
    return decode_to_memory(index, imgsz, quick, layout_of(index, imgsz), quiet)


def on_disk(index: DatasetIndex, imgsz: int = IMGSZ, quick: bool = True) -> PixelCache:
    return decode_to_disk(index, imgsz, quick, layout_of(index, imgsz), quiet)


def same(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.targets.labels, b.targets.labels)
        and torch.equal(a.targets.boxes, b.targets.boxes)
        and torch.equal(a.targets.masks, b.targets.masks)
    )


def training(index: DatasetIndex, pixels: PixelCache | None, workers: int) -> BatchLoader:
    dataset = TrainDataset(index, IMGSZ, AugmentConfig(), 0, 5, pixels=pixels)
    return train_loader(dataset, 2, workers, 4, (114.0, 114.0, 114.0), seed=0)


@pytest.fixture
def index(yolo_dataset) -> DatasetIndex:
    return index_of_train(yolo_dataset(num_train=6, size=(96, 130)))


@pytest.mark.parametrize("fill", [in_memory, on_disk])
@pytest.mark.parametrize("quick", [False, True])
def test_every_image_is_what_would_be_decoded(index: DatasetIndex, fill, quick: bool) -> None:
    pixels = fill(index, quick=quick)
    assert pixels.present.all()
    for i in range(len(index)):
        image = pixels.image(i, stored_size(index, i, IMGSZ))
        np.testing.assert_array_equal(image, load_image(index, i, IMGSZ, quick))
        assert not image.flags.writeable
        assert image.base is not None  # a view, not a copy
        assert pixels.image(i, stored_size(index, i, 32)) is None


@pytest.mark.parametrize("fill", [in_memory, on_disk])
@pytest.mark.parametrize("workers", [0, 2])
def test_training_batches_are_the_same_with_and_without(
    index: DatasetIndex, fill, workers: int
) -> None:
    loaders = [training(index, None, 0), training(index, fill(index), workers)]
    for loader in loaders:
        loader.set_epoch(1)
    for plain, cached in zip(*loaders, strict=True):
        assert same(plain, cached)


@pytest.mark.parametrize("size", [(96, 130), (40, 30)])
def test_validation_batches_are_the_same_with_and_without(yolo_dataset, size) -> None:
    index = index_of_train(yolo_dataset(size=size))
    pixels = in_memory(index, quick=False)
    with_cache, without = (
        val_loader(ValDataset(index, IMGSZ, found), 2, 0, 4, (0.0, 0.0, 0.0))
        for found in (pixels, None)
    )
    for a, b in zip(with_cache, without, strict=True):
        assert same(a, b)


def test_cached_images_are_not_read_again(index: DatasetIndex) -> None:
    pixels = in_memory(index)
    for path in index.paths():
        os.unlink(path)
    assert len(list(training(index, pixels, 0))) == 3


def test_other_processes_map_the_same_memory(index: DatasetIndex) -> None:
    for pixels in (in_memory(index), on_disk(index)):
        told = pickle.dumps(pixels)
        assert len(told) < 2000 < pixels.layout.num_bytes
        again = pickle.loads(told)
        np.testing.assert_array_equal(again.pixels, pixels.pixels)
        assert again.path == pixels.path


def test_the_file_is_found_until_an_image_changes(index: DatasetIndex) -> None:
    layout = layout_of(index, IMGSZ)
    assert find_on_disk(index, IMGSZ, True, layout) is None
    first = on_disk(index)
    assert cache_folder() in first.path.parents
    found = find_on_disk(index, IMGSZ, True, layout)
    assert found is not None
    assert found.path == first.path
    assert find_on_disk(index, IMGSZ, False, layout) is None
    assert find_on_disk(index, 32, True, layout_of(index, 32)) is None
    path = index.path(2)
    cv2.imwrite(str(path), np.full((96, 130, 3), 7, dtype=np.uint8))
    assert find_on_disk(index, IMGSZ, True, layout) is None
    second = on_disk(index)
    image = second.image(2, stored_size(index, 2, IMGSZ))
    assert image is not None
    assert (image == 7).all()


def test_old_files_of_a_folder_are_removed(index: DatasetIndex) -> None:
    paths = []
    for value in range(4):
        cv2.imwrite(str(index.path(0)), np.full((96, 130, 3), value, dtype=np.uint8))
        os.utime(index.path(0), ns=(value, value))
        paths.append(on_disk(index).path)
        os.utime(paths[-1], (time.time() - 100 + value,) * 2)
    assert [path.exists() for path in paths] == [False, False, True, True]


def test_a_cut_file_is_not_used(index: DatasetIndex) -> None:
    path = on_disk(index).path
    content = path.read_bytes()
    for damaged in (content[:-5], content[:-3] + b"abc", b""):
        path.write_bytes(damaged)
        assert find_on_disk(index, IMGSZ, True, layout_of(index, IMGSZ)) is None


def test_a_broken_image_is_missing_and_met_when_it_is_asked_for(index: DatasetIndex) -> None:
    index.path(3).write_bytes(b"no image")
    pixels = in_memory(index)
    assert pixels.present.tolist() == [True, True, True, False, True, True]
    assert pixels.image(3, stored_size(index, 3, IMGSZ)) is None


def test_a_full_disk_leaves_nothing(index: DatasetIndex, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pixel_fill, "_reserve", full)
    with pytest.raises(OutputError, match="No space left"):
        on_disk(index)
    place = pixel_fill._path(index, IMGSZ, True, "").name.split("-")[0]
    assert not list(cache_folder().glob(f"*{place}*"))


def test_without_memory_files(index: DatasetIndex, monkeypatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    pixels = in_memory(index)
    assert pixels.path.is_file()
    image = pixels.image(0, stored_size(index, 0, IMGSZ))
    np.testing.assert_array_equal(image, load_image(index, 0, IMGSZ, True))
    folder = pixels.path.parent
    del pixels, image
    assert not folder.exists()


def test_no_images(index: DatasetIndex) -> None:
    empty = build_index([], 3)
    assert len(in_memory(empty).present) == 0


def test_what_is_free() -> None:
    free = free_memory()
    assert free is not None
    assert 2**20 < free < 2**50
    assert 0 < free_disk(Path("/no/such/folder")) < 2**60
