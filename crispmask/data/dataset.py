"""Samples of a split: changed at random for training, only resized for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from crispmask.augment.pipeline import Pipeline
from crispmask.augment.transform import Transform
from crispmask.config import AugmentConfig
from crispmask.data.images import read_image
from crispmask.data.index import DatasetIndex
from crispmask.geometry.letterbox import fit_size, resize_image
from crispmask.types import Sample, Size

Partners = Literal["dataset", "batch"]


def load_sample(
    index: DatasetIndex, i: int, imgsz: int | Size, upscale: bool = False, quick: bool = False
) -> Sample:
    """Image i with its instances, reduced to fit.

    Args:
        index: the split.
        i: position in it.
        imgsz: the longest side, or the (height, width) to fit inside.
        upscale: whether a small image grows to fit.
        quick: whether a decoder may reduce large images, with slightly other pixels.

    Raises:
        DatasetError: the image cannot be read.
    """
    if quick:
        size = fit_size(index.size(i), imgsz, upscale)
        image = read_image(index.path(i), at_least=size)
    else:
        image = read_image(index.path(i))
        size = fit_size(image.shape[:2], imgsz, upscale)
    polygons, labels = index.annotation(i, size)
    return Sample(resize_image(image, size), polygons, labels, i)


class TrainKey(NamedTuple):
    """What a training sample is asked for by.

    Attributes:
        epoch: from 0.
        position: of the image in the dataset.
        imgsz: side of the image; None: that of the dataset.
    """

    epoch: int
    position: int
    imgsz: int | None = None


class TrainDataset(Dataset[Sample]):
    """Samples changed at random.

    A sample depends on the seed, the epoch and its position alone, and with `partners="batch"`
    on its batch: not on the number of workers, nor on what was read before.

    Args:
        index: the split.
        imgsz: side of the square images.
        augment: the changes.
        seed: of the changes.
        close_mosaic_epoch: first epoch, counted from 0, without mosaic, mixup and copy-paste.
        partners: where mosaic and mixup find their other images. With "batch" every image is
            decoded once per batch.
        transform: the user's own change.
    """

    def __init__(
        self,
        index: DatasetIndex,
        imgsz: int,
        augment: AugmentConfig,
        seed: int,
        close_mosaic_epoch: int,
        partners: Partners = "dataset",
        transform: Transform | None = None,
    ) -> None:
        self.index = index
        self.imgsz = imgsz
        self.augment = augment
        self.seed = seed
        self.close_mosaic_epoch = close_mosaic_epoch
        self.partners = partners
        self.transform = transform

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: TrainKey | tuple[int, int]) -> Sample:
        """The sample of (epoch, position), its partners from all of the dataset."""
        return self._sample(TrainKey(*key), range(len(self)), self._load)

    def batch(self, keys: Sequence[TrainKey]) -> Iterator[Sample]:
        """The samples of one batch, in order."""
        if self.partners == "dataset":
            yield from (self[key] for key in keys)
            return
        positions = [key.position for key in keys]
        loaded: dict[int, Sample] = {}

        def load(i: int, imgsz: int) -> Sample:
            if i not in loaded:
                loaded[i] = self._load(i, imgsz)
            return loaded[i]

        yield from (self._sample(key, positions, load) for key in keys)

    def _sample(
        self, key: TrainKey, partners: Sequence[int], load: Callable[[int, int], Sample]
    ) -> Sample:
        closed = key.epoch >= self.close_mosaic_epoch
        augment = self.augment.without_mixing() if closed else self.augment
        imgsz = key.imgsz or self.imgsz
        rng = np.random.default_rng((self.seed, key.epoch, key.position + 1))
        pipeline = Pipeline(augment, imgsz, self.transform)
        return pipeline(lambda i: load(i, imgsz), key.position, partners, rng)

    def _load(self, i: int, imgsz: int) -> Sample:
        return load_sample(self.index, i, imgsz, quick=True)


class ValDataset(Dataset[Sample]):
    """Samples with their longest side at `imgsz`, small images enlarged; without padding.

    Args:
        index: the split.
        imgsz: longest side, pixels.
    """

    def __init__(self, index: DatasetIndex, imgsz: int) -> None:
        self.index = index
        self.imgsz = imgsz

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Sample:
        return load_sample(self.index, i, self.imgsz, upscale=True)

    def batch(self, keys: Sequence[int]) -> Iterator[Sample]:
        """The samples of one batch, in order."""
        yield from (self[i] for i in keys)
