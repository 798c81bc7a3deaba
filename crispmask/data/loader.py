"""Batches of a split, loaded by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from crispmask.data.collate import collate
from crispmask.data.dataset import TrainDataset, ValDataset
from crispmask.data.index import DatasetIndex
from crispmask.errors import CrispmaskError
from crispmask.types import Batch, Sample


class TrainSampler(Sampler[tuple[int, int]]):
    """All positions in a new order each epoch, as (epoch, position).

    Every rank gets equally many; where they do not share out evenly, the first ones of the
    order come twice. No image is left out.

    Args:
        num_samples: positions of the dataset.
        seed: of the orders.
        rank: of this process.
        world_size: processes.
    """

    def __init__(self, num_samples: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the order, and the random changes of the samples."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.num_samples // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_samples)
        shared = np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]
        return iter([(self.epoch, i) for i in shared.tolist()])


class BatchLoader(DataLoader[Any]):
    """Yields `Batch`; an error of a file is raised as it is, not as the traceback of a worker."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # theirs is a class of torch
        for batch in super().__iter__():
            if isinstance(batch, CrispmaskError):
                try:
                    raise batch
                finally:
                    # The error holds this frame. If the frame held the error too, the workers
                    # would end by garbage collection, which waits seconds for them.
                    del batch
            yield batch


class _Guarded(Dataset[Any]):
    """Samples, or the error instead of one: torch would wrap it in the text of a traceback."""

    def __init__(self, dataset: TrainDataset | ValDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Any) -> Sample | CrispmaskError:
        try:
            return self.dataset[key]
        except CrispmaskError as error:
            return error


@dataclass(frozen=True, slots=True)
class _Collate:
    """`collate` with what it needs beside the samples; passes the first error on."""

    index: DatasetIndex
    mask_stride: int
    pad_value: tuple[float, float, float]

    def __call__(self, samples: Sequence[Sample | CrispmaskError]) -> Batch | CrispmaskError:
        good = []
        for sample in samples:
            if isinstance(sample, CrispmaskError):
                return sample
            good.append(sample)
        sizes = [self.index.size(sample.index) for sample in good]
        return collate(good, self.mask_stride, self.pad_value, sizes)


def train_loader(
    dataset: TrainDataset,
    batch: int,
    workers: int,
    mask_stride: int,
    pad_value: tuple[float, float, float],
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> BatchLoader:
    """Shuffled batches; call `loader.sampler.set_epoch` before each epoch.

    The last batch may be smaller. It is left out if it would be a single image and there are
    others: statistics of one image would upset the batch norms.

    Args:
        dataset: the samples.
        batch: images per batch.
        workers: processes; 0 loads in this one.
        mask_stride: input pixels per mask pixel.
        pad_value: RGB of the padding.
        seed: of the order.
        rank: of this process.
        world_size: processes that train.
        pin_memory: whether batches lie in page-locked memory.
    """
    sampler = TrainSampler(len(dataset), seed, rank, world_size)
    alone = len(sampler) > batch and len(sampler) % batch == 1
    return _loader(
        dataset, sampler, batch, workers, mask_stride, pad_value, pin_memory, drop_last=alone
    )


def val_loader(
    dataset: ValDataset,
    batch: int,
    workers: int,
    mask_stride: int,
    pad_value: tuple[float, float, float],
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> BatchLoader:
    """Batches in the order of the index, each image once over all ranks.

    Arguments as in `train_loader`.
    """
    mine = range(rank, len(dataset), world_size)
    return _loader(dataset, mine, batch, workers, mask_stride, pad_value, pin_memory)


def _loader(
    dataset: TrainDataset | ValDataset,
    sampler: TrainSampler | range,
    batch: int,
    workers: int,
    mask_stride: int,
    pad_value: tuple[float, float, float],
    pin_memory: bool,
    drop_last: bool = False,
) -> BatchLoader:
    workers = min(workers, -(-len(sampler) // batch))  # more would have nothing to do
    return BatchLoader(
        _Guarded(dataset),
        batch_size=batch,
        sampler=sampler,
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=_Collate(dataset.index, mask_stride, pad_value),
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        # Its own: the seeds of workers shall not use up the numbers of the training.
        generator=torch.Generator(),
    )


def _start_worker(worker: int) -> None:
    """One thread per worker; otherwise each would take all cores."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
