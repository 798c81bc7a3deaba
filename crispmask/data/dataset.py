"""Samples of a split: changed at random for training, only resized for validation."""

from __future__ import annotations

from functools import partial

import numpy as np
from torch.utils.data import Dataset

from crispmask.augment.pipeline import Pipeline
from crispmask.config import AugmentConfig
from crispmask.data.images import read_image
from crispmask.data.index import DatasetIndex
from crispmask.geometry.letterbox import fit_size, resize_image
from crispmask.types import Sample, Size


def load_sample(index: DatasetIndex, i: int, imgsz: int | Size, upscale: bool = False) -> Sample:
    """Image i with its instances, reduced to fit.

    Args:
        index: the split.
        i: position in it.
        imgsz: the longest side, or the (height, width) to fit inside.
        upscale: whether a small image grows to fit.

    Raises:
        DatasetError: the image cannot be read.
    """
    image = read_image(index.path(i))
    height, width = image.shape[:2]
    size = fit_size((height, width), imgsz, upscale)
    polygons, labels = index.annotation(i, size)
    return Sample(resize_image(image, size), polygons, labels, i)


class TrainDataset(Dataset[Sample]):
    """Samples changed at random.

    A sample depends on the seed, the epoch and its position alone: not on the number of
    workers, nor on what was read before.

    Args:
        index: the split.
        imgsz: side of the square images.
        augment: the changes.
        seed: of the changes.
        close_mosaic_epoch: first epoch, counted from 0, without mosaic and mixup.
    """

    def __init__(
        self,
        index: DatasetIndex,
        imgsz: int,
        augment: AugmentConfig,
        seed: int,
        close_mosaic_epoch: int,
    ) -> None:
        self.index = index
        self.imgsz = imgsz
        self.seed = seed
        self.close_mosaic_epoch = close_mosaic_epoch
        self._mixing = Pipeline(augment, imgsz)
        self._single = Pipeline(augment.without_mixing(), imgsz)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample of (epoch, position)."""
        epoch, i = key
        pipeline = self._mixing if epoch < self.close_mosaic_epoch else self._single
        load = partial(load_sample, self.index, imgsz=self.imgsz)
        return pipeline(load, i, range(len(self)), np.random.default_rng((self.seed, epoch, i + 1)))


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
