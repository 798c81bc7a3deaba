"""Batches of a split, loaded by worker processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from crispmask.augment.picture import Picture, Unpainted
from crispmask.data.collate import MULTIPLE, UnpaintedBatch, collate, collate_unpainted
from crispmask.data.dataset import TrainDataset, TrainKey, ValDataset
from crispmask.data.index import DatasetIndex
from crispmask.data.workers import IDLE, StartWorker, light_forks, new_slots, obituary
from crispmask.errors import CrispmaskError, DatasetError
from crispmask.geometry.letterbox import round_up
from crispmask.types import Batch, Sample

_logger = logging.getLogger(__name__)


class TrainSampler(Sampler[list[TrainKey]]):
    """The batches of an epoch, each shared by all ranks.

    All positions in an order that is new each epoch and the same for every number of ranks, cut
    into batches. Each rank takes its share of each of them. The last batch may be smaller. It is
    left out if it would be a single image, whose statistics would upset the batch norms, or fewer
    than there are ranks.

    Args:
        num_samples: positions of the dataset; no fewer than ranks.
        seed: of the orders.
        batch: images per batch over all ranks.
        rank: of this process.
        world_size: processes.
        sizes: sides to draw from, for each batch anew; none: that of the dataset.
    """

    def __init__(
        self,
        num_samples: int,
        seed: int,
        batch: int = 1,
        rank: int = 0,
        world_size: int = 1,
        sizes: Sequence[int] = (),
    ) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.batch = batch
        self.rank = rank
        self.world_size = world_size
        self.sizes = sizes
        self.epoch = 0
        self.closed = False

    def set_epoch(self, epoch: int, closed: bool = False) -> None:
        """Chooses the order, and the random changes of the samples; see `TrainKey.closed`."""
        self.epoch = epoch
        self.closed = closed

    def __len__(self) -> int:
        full, rest = divmod(self.num_samples, self.batch)
        return full + (rest >= max(2, self.world_size) or (rest > 0 and full == 0))

    def __iter__(self) -> Iterator[list[TrainKey]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.num_samples)
        for k in range(len(self)):
            whole = order[k * self.batch : (k + 1) * self.batch]
            first, end = (
                len(whole) * rank // self.world_size for rank in (self.rank, self.rank + 1)
            )
            imgsz = self._imgsz(k)
            yield [TrainKey(self.epoch, i, imgsz, self.closed) for i in whole[first:end].tolist()]

    def _imgsz(self, batch_index: int) -> int | None:
        """The side of the images of a batch, the same on every rank."""
        if not self.sizes:
            return None
        rng = np.random.default_rng((self.seed, self.epoch, 0, batch_index))
        return self.sizes[int(rng.integers(len(self.sizes)))]


def multi_scale_sizes(imgsz: int, fraction: float) -> tuple[int, ...]:
    """The sides from (1 - fraction) to (1 + fraction) `imgsz` that a network can take.

    All multiples of 32 in that range, from 64 up.
    """
    if fraction == 0:
        return ()
    low = max(2 * MULTIPLE, round_up(int(imgsz * (1 - fraction) + 0.5), MULTIPLE))
    return tuple(range(low, int(imgsz * (1 + fraction) + 0.5) + 1, MULTIPLE))


class BatchLoader(DataLoader[Any]):
    """Yields `Batch`; an error of a file is raised as it is, not as the traceback of a worker.

    Attributes:
        unreadable: paths of the images that could not be read so far; each is told once.
        slots: what each of its processes reads.
        index: of the split.
        painter: paints the batches that come without pixels.
    """

    unreadable: set[str]
    slots: Tensor
    index: DatasetIndex
    painter: Paint | None

    def set_epoch(self, epoch: int, closed: bool = False) -> None:
        """Chooses the order and the random changes of training images; see `TrainKey.closed`."""
        if isinstance(self.batch_sampler, TrainSampler):
            self.batch_sampler.set_epoch(epoch, closed)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # theirs is a class of torch
        if self.processes or not self.num_workers:
            batches = super().__iter__()
        else:
            with light_forks():  # the processes start here
                batches = super().__iter__()
        for loaded in batches:
            if isinstance(loaded, CrispmaskError):
                try:
                    raise loaded
                finally:
                    # The error holds this frame. If the frame held the error too, the workers
                    # would end by garbage collection, which waits seconds for them.
                    del loaded
            batch, *missing = loaded  # pinning makes lists of tuples
            for path, message in missing:
                if path not in self.unreadable:
                    _logger.warning("%s", message)
                self.unreadable.add(path)
            if isinstance(batch, UnpaintedBatch):
                assert self.painter is not None
                batch = batch.painted(self.painter(batch.pictures))
            if batch is not None:
                yield batch
            elif isinstance(self.batch_sampler, TrainSampler) and self.batch_sampler.world_size > 1:
                raise DatasetError(  # the others would wait for this one
                    f"{missing[0][1]}; no image is left of a batch for the process of rank "
                    f"{self.batch_sampler.rank}: remove it, or use a larger --batch"
                )

    @property
    def processes(self) -> Sequence[BaseProcess]:
        """The processes that load; none before the first batch, or without workers."""
        return getattr(self._iterator, "_workers", ())

    def obituary(self) -> str | None:
        """A line about the first process that has died, None if there is none."""
        return obituary(self.processes, self.slots, self.index)


Paint = Callable[[Sequence[Picture]], Tensor]
"""Gives the images of pictures, (B, 3, H, W) uint8."""

Missing = tuple[str, str]
"""The path of an image that could not be read, and what is said about it."""


_Loaded = Sample | Unpainted | Missing | CrispmaskError


class _Guarded(Dataset[Any]):
    """Samples, or the error instead of one: torch would wrap it in the text of a traceback."""

    def __init__(self, dataset: TrainDataset | ValDataset) -> None:
        self.dataset = dataset
        self.note: Callable[[int], None] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, keys: list[Any]) -> list[_Loaded]:
        """The samples of a batch up to the first error, then what could not be read."""
        samples: list[_Loaded] = []
        reader = self.dataset.reader
        if self.note is not None:
            reader.on_read = self.note
        try:
            # One by one: an error keeps what came before it.
            samples.extend(self.dataset.batch(keys))
        except CrispmaskError as error:
            samples.append(error)
        samples.extend(reader.unreadable.items())
        reader.unreadable.clear()
        reader.on_read(IDLE)
        return samples


@dataclass(frozen=True, slots=True)
class _Collate:
    """`collate` with what it needs beside the samples; passes the first error on."""

    index: DatasetIndex
    mask_stride: int
    pad_value: tuple[float, float, float]

    def __call__(
        self, samples: Sequence[_Loaded]
    ) -> tuple[Batch | UnpaintedBatch | Missing | None, ...] | CrispmaskError:
        """The batch, None if it is empty, and what could not be read."""
        good: list[Sample] = []
        without: list[Unpainted] = []
        missing: list[Missing] = []
        for sample in samples:
            if isinstance(sample, CrispmaskError):
                return sample
            if isinstance(sample, Sample):
                good.append(sample)
            elif isinstance(sample, Unpainted):
                without.append(sample)
            else:
                missing.append(sample)
        found: list[Sample | Unpainted] = [*good, *without]
        sizes = [self.index.size(sample.index) for sample in found]
        if not sizes:
            return None, *missing
        if without:
            return collate_unpainted(without, self.mask_stride, sizes), *missing
        return collate(good, self.mask_stride, self.pad_value, sizes), *missing


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
    multi_scale: float = 0.0,
    painter: Paint | None = None,
) -> BatchLoader:
    """Shuffled batches, see `TrainSampler`; call `loader.set_epoch` before each epoch.

    Args:
        dataset: the samples.
        batch: images per batch over all ranks.
        workers: processes; 0 loads in this one.
        mask_stride: input pixels per mask pixel.
        pad_value: RGB of the padding.
        seed: of the order.
        rank: of this process.
        world_size: processes that train.
        pin_memory: whether batches lie in page-locked memory.
        multi_scale: how far the size of a batch may be from that of the dataset, a fraction.
        painter: paints the batches, if the dataset leaves that to others.
    """
    sizes = multi_scale_sizes(dataset.imgsz, multi_scale)
    sampler = TrainSampler(len(dataset), seed, batch, rank, world_size, sizes)
    loader = _loader(dataset, sampler, workers, mask_stride, pad_value, pin_memory)
    loader.painter = painter
    return loader


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
    """Batches in the order of the index; each rank gets whole ones, which are those of one rank.

    Arguments as in `train_loader`; `batch` counts the images of each one.
    """
    starts = range(rank * batch, len(dataset), world_size * batch)
    mine = [list(range(i, min(i + batch, len(dataset)))) for i in starts]
    return _loader(dataset, mine, workers, mask_stride, pad_value, pin_memory)


def _loader(
    dataset: TrainDataset | ValDataset,
    batches: TrainSampler | list[list[int]],
    workers: int,
    mask_stride: int,
    pad_value: tuple[float, float, float],
    pin_memory: bool,
) -> BatchLoader:
    workers = min(workers, len(batches))  # more would have nothing to do
    slots = new_slots(workers)
    loader = BatchLoader(
        _Guarded(dataset),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_Collate(dataset.index, mask_stride, pad_value),
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=StartWorker(slots),
        # Its own: the seeds of workers shall not use up the numbers of the training.
        generator=torch.Generator(),
    )
    loader.unreadable = set()
    loader.slots, loader.index, loader.painter = slots, dataset.index, None
    return loader
