from __future__ import annotations

from pathlib import Path

import pytest
import torch

import crispmask.data.dataset as dataset_module
from crispmask.config import AugmentConfig
from crispmask.data.dataset import TrainDataset, TrainKey, ValDataset
from crispmask.data.loader import (
    BatchLoader,
    TrainSampler,
    multi_scale_sizes,
    train_loader,
    val_loader,
)
from crispmask.data.scan import build_index
from crispmask.data.spec import read_spec
from crispmask.errors import DatasetError
from crispmask.types import Batch

PAD = (114.0, 114.0, 114.0)
EVERYTHING = AugmentConfig(
    mosaic=0.7, mixup=0.3, copy_paste=0.5, perspective=5e-4, degrees=30, shear=5, flipud=0.5
)


def training(file: Path, batch: int, workers: int, **options: float) -> BatchLoader:
    spec = read_spec(file)
    dataset = TrainDataset(build_index(spec.train, 3), 64, EVERYTHING, 0, 5)
    return train_loader(dataset, batch, workers, 4, PAD, seed=0, **options)


def validation(file: Path, batch: int, workers: int, **options: int) -> BatchLoader:
    spec = read_spec(file)
    return val_loader(ValDataset(build_index(spec.val, 3), 64), batch, workers, 4, PAD, **options)


def indices(loader: BatchLoader) -> list[int]:
    return [index for batch in loader for index in batch.indices]


def same(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.targets.labels, b.targets.labels)
        and torch.equal(a.targets.masks, b.targets.masks)
    )


@pytest.mark.parametrize(("num_samples", "batch"), [(16, 4), (15, 4), (14, 4), (3, 12), (40, 12)])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batches_of_one(num_samples: int, batch: int, world_size: int) -> None:
    sizes = (64, 96, 128)
    alone = list(TrainSampler(num_samples, 0, batch, sizes=sizes))
    samplers = [
        TrainSampler(num_samples, 0, batch, rank, world_size, sizes) for rank in range(world_size)
    ]
    assert {len(list(sampler)) for sampler in samplers} == {len(samplers[0])}
    for whole, *shares in zip(alone, *samplers, strict=False):
        assert [key for share in shares for key in share] == whole
        lengths = [len(share) for share in shares]
        assert max(lengths) - min(lengths) <= 1
        assert min(lengths) > 0
    left_out = sum(map(len, alone)) - sum(len(keys) for s in samplers for keys in s)
    assert 0 <= left_out < world_size


def test_order_changes_with_epoch_and_seed() -> None:
    sampler = TrainSampler(50, seed=1, batch=5)
    first = list(sampler)
    assert first == list(sampler)
    assert all(key.epoch == 0 and key.imgsz is None for keys in first for key in keys)
    sampler.set_epoch(3)
    later = list(sampler)
    assert all(key.epoch == 3 for keys in later for key in keys)
    other = list(TrainSampler(50, seed=2, batch=5))
    orders = [[k.position for keys in order for k in keys] for order in (first, later, other)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_training_batches(yolo_dataset) -> None:
    loader = training(yolo_dataset(num_train=6), batch=4, workers=0)
    loader.set_epoch(2)
    first, last = list(loader)
    assert len(loader) == 2
    assert first.images.shape == (4, 3, 64, 64)
    assert last.images.shape == (2, 3, 64, 64)
    assert first.targets.valid_sizes == ((64, 64),) * 4
    assert first.original_sizes == ((96, 128),) * 4
    assert sum(first.targets.counts) == len(first.targets.labels)
    assert sorted(first.indices + last.indices) == list(range(6))


@pytest.mark.parametrize(
    ("num_train", "batch", "sizes"),
    [(5, 2, [2, 2]), (5, 4, [4]), (6, 4, [4, 2]), (1, 4, [1]), (3, 1, [1, 1, 1]), (4, 4, [4])],
)
def test_a_last_batch_of_one_is_left_out(
    yolo_dataset, num_train: int, batch: int, sizes: list[int]
) -> None:
    loader = training(yolo_dataset(num_train=num_train), batch, workers=0)
    assert [len(found.indices) for found in loader] == sizes
    assert len(loader) == len(sizes)


def test_batches_do_not_depend_on_the_workers(yolo_dataset) -> None:
    file = yolo_dataset()
    loaders = [training(file, batch=2, workers=workers) for workers in (0, 1, 2)]
    for epoch in (0, 1):
        for loader in loaders:
            loader.set_epoch(epoch)
        for batches in zip(*loaders, strict=True):
            assert same(batches[0], batches[1])
            assert same(batches[0], batches[2])


def test_validation_batches_of_mixed_shapes(yolo_dataset) -> None:
    file = yolo_dataset(num_val=2, size=(96, 128))
    yolo_dataset(num_val=2, size=(128, 64), name="other")
    text = "train: images/train\nval: [images/val, ../other/images/val]\nnc: 3\n"
    file.write_text(text)
    (batch,) = validation(file, batch=4, workers=0)
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.targets.valid_sizes == ((48, 64), (48, 64), (64, 32), (64, 32))
    assert batch.original_sizes == ((96, 128), (96, 128), (128, 64), (128, 64))
    assert batch.targets.counts == (3, 0, 3, 0)


def test_ranks_validate_whole_batches_of_one(yolo_dataset) -> None:
    file = yolo_dataset(num_val=5)
    assert indices(validation(file, batch=2, workers=0)) == [0, 1, 2, 3, 4]
    assert indices(validation(file, batch=2, workers=0, rank=1, world_size=2)) == [2, 3]


def test_batch_of_backgrounds(yolo_dataset) -> None:
    (_, batch) = validation(yolo_dataset(num_val=2), batch=1, workers=0)
    assert batch.targets.counts == (0,)
    assert batch.targets.masks.shape == (0, 16, 16)


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_are_those_of_the_file(yolo_dataset, workers: int) -> None:
    file = yolo_dataset(num_val=4)
    loader = validation(file, batch=2, workers=workers)
    bad = file.parent / "images" / "val" / "002.jpg"
    bad.write_bytes(bad.read_bytes()[:200])
    batches = iter(loader)
    next(batches)
    message = ""
    try:  # what pytest.raises catches would keep the workers alive
        next(batches)
    except DatasetError as error:
        message = str(error)
    assert message.startswith(f"{bad}: cannot be read as an image")
    assert "\n" not in message


def test_no_more_workers_than_batches(yolo_dataset) -> None:
    assert validation(yolo_dataset(num_val=3), batch=2, workers=8).num_workers == 2


def test_loading_leaves_the_random_numbers_of_torch_alone(yolo_dataset) -> None:
    loader = training(yolo_dataset(), batch=2, workers=0)
    state = torch.get_rng_state()
    list(loader)
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes_of_multi_scale() -> None:
    assert multi_scale_sizes(640, 0.0) == ()
    assert multi_scale_sizes(640, 0.1) == (576, 608, 640, 672, 704)
    assert multi_scale_sizes(96, 0.9)[:2] == (64, 96)
    assert multi_scale_sizes(64, 0.01) == (64,)


def test_batches_of_multi_scale_have_one_size_each(yolo_dataset) -> None:
    file = yolo_dataset(num_train=12)
    sizes = []
    for workers in (0, 2):
        loader = training(file, batch=2, workers=workers, multi_scale=0.5)
        batches = list(loader)
        sizes.append([tuple(batch.images.shape[2:]) for batch in batches])
        assert all(
            batch.targets.valid_sizes == (size,) * 2
            for batch, size in zip(batches, sizes[-1], strict=True)
        )
    assert sizes[0] == sizes[1]
    assert {height for height, _ in sizes[0]} <= {64, 96}
    assert len(set(sizes[0])) == 2


def test_partners_from_the_batch(yolo_dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read_spec(yolo_dataset(num_train=8))
    index = build_index(spec.train, 3)
    dataset = TrainDataset(index, 64, AugmentConfig(mixup=1.0), 0, 5, partners="batch")
    loaders = [train_loader(dataset, 4, workers, 4, PAD, seed=0) for workers in (0, 2)]
    for one, other in zip(*loaders, strict=True):
        assert same(one, other)
    read: list[int] = []
    load = dataset_module.load_sample

    def watched(index, i, *args, **kwargs):
        read.append(i)
        return load(index, i, *args, **kwargs)

    monkeypatch.setattr(dataset_module, "load_sample", watched)
    samples = list(dataset.batch([TrainKey(0, i) for i in (5, 2, 7)]))
    assert [sample.index for sample in samples] == [5, 2, 7]
    assert len(read) == len(set(read))
    assert set(read) <= {2, 5, 7}
