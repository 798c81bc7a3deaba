"""Samples of a split: changed at random for training, only resized for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from crispmask.augment.picture import Unpainted, unpainted
from crispmask.augment.pipeline import Pipeline
from crispmask.augment.transform import Transform
from crispmask.config import AugmentConfig
from crispmask.data.index import DatasetIndex
from crispmask.data.pixels import Pixels, load_image, stored_size
from crispmask.errors import DatasetError
from crispmask.geometry.letterbox import fit_size, resize_image
from crispmask.types import Sample, Size

Partners = Literal["dataset", "batch"]


def load_sample(
    index: DatasetIndex,
    i: int,
    imgsz: int | Size,
    upscale: bool = False,
    quick: bool = False,
    pixels: Pixels | None = None,
) -> Sample:
    """Image i with its instances, reduced to fit.

    Args:
        index: the split.
        i: position in it.
        imgsz: the longest side, or the (height, width) to fit inside.
        upscale: whether a small image grows to fit.
        quick: whether a decoder may reduce large images, with slightly other pixels.
        pixels: images decoded before, in the same way; the sample is the same without.

    Raises:
        DatasetError: the image cannot be read.
    """
    image = None if pixels is None else pixels.image(i, stored_size(index, i, imgsz))
    if image is None:
        image = load_image(index, i, imgsz, quick)
    size = fit_size(index.size(i), imgsz, upscale)
    polygons, labels = index.annotation(i, size)
    return Sample(resize_image(image, size), polygons, labels, i)


class Reader:
    """Loads samples of a split, and tells which one and which could not be read.

    Attributes:
        index: the split.
        upscale: as of `load_sample`.
        quick: as of `load_sample`.
        pixels: as of `load_sample`.
        unreadable: messages by path, of images that others were taken for; whoever reports
            them empties it.
        on_read: called with the position of each image before it is read.
    """

    def __init__(
        self, index: DatasetIndex, upscale: bool, quick: bool, pixels: Pixels | None
    ) -> None:
        self.index = index
        self.upscale = upscale
        self.quick = quick
        self.pixels = pixels
        self.unreadable: dict[str, str] = {}
        self.on_read: Callable[[int], None] = _nobody_asks

    def load(self, i: int, imgsz: int) -> Sample:
        """Image i.

        Raises:
            DatasetError: it cannot be read.
        """
        self.on_read(i)
        return load_sample(self.index, i, imgsz, self.upscale, self.quick, self.pixels)

    def load_or_next(self, i: int, imgsz: int) -> Sample:
        """Image i, or the first one after it that can be read.

        Batches keep their size, and all processes of a training the same number of them.

        Raises:
            DatasetError: that many in a row cannot be read.
        """
        for step in range(_MOST_IN_A_ROW):
            k = (i + step) % len(self.index)
            try:
                return self.load(k, imgsz)
            except DatasetError as error:
                self.unreadable[str(self.index.path(k))] = str(error)
                if step + 1 == min(_MOST_IN_A_ROW, len(self.index)):
                    raise
        raise AssertionError  # the last one raised


_MOST_IN_A_ROW = 100
"""Unreadable images one after the other: a disk that is gone, not single damaged files."""


def _nobody_asks(i: int) -> None:
    return


class TrainKey(NamedTuple):
    """What a training sample is asked for by.

    Attributes:
        epoch: from 0.
        position: of the image in the dataset.
        imgsz: side of the image; None: that of the dataset.
        closed: leaves mosaic, mixup and copy-paste out, whatever the epoch.
    """

    epoch: int
    position: int
    imgsz: int | None = None
    closed: bool = False


class TrainDataset(Dataset[Any]):
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
        pixels: images decoded before.
        strict: whether an image that cannot be read is an error; else the next one that can is
            taken for it, and `reader.unreadable` tells.
        unpainted: whether samples are left without pixels, for a device that has the images;
            `pixels` then tell no more than sizes.
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
        pixels: Pixels | None = None,
        strict: bool = True,
        unpainted: bool = False,
    ) -> None:
        self.index = index
        self.unpainted = unpainted
        self.reader = Reader(index, upscale=False, quick=True, pixels=pixels)
        self.strict = strict
        self.imgsz = imgsz
        self.augment = augment
        self.seed = seed
        self.close_mosaic_epoch = close_mosaic_epoch
        self.partners = partners
        self.transform = transform

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: TrainKey | tuple[int, int]) -> Sample | Unpainted:
        """The sample of (epoch, position), its partners from all of the dataset."""
        return self._sample(TrainKey(*key), range(len(self)), self._load)

    def batch(self, keys: Sequence[TrainKey]) -> Iterator[Sample | Unpainted]:
        """The samples of one batch, in order; their images lie behind each other in memory."""
        imgsz = {key.imgsz or self.imgsz for key in keys}
        images: Iterable[NDArray[np.uint8] | None] = [None] * len(keys)
        if len(imgsz) == 1 and not self.unpainted:
            images = np.empty((len(keys), *2 * tuple(imgsz), 3), dtype=np.uint8)
        if self.partners == "dataset":
            everything = range(len(self))
            for key, out in zip(keys, images, strict=True):
                yield self._sample(key, everything, self._load, out)
            return
        positions = [key.position for key in keys]
        loaded: dict[int, Sample] = {}

        def load(i: int, imgsz: int) -> Sample:
            if i not in loaded:
                loaded[i] = self._load(i, imgsz)
            return loaded[i]

        for key, out in zip(keys, images, strict=True):
            yield self._sample(key, positions, load, out)

    def _sample(
        self,
        key: TrainKey,
        partners: Sequence[int],
        load: Callable[[int, int], Sample],
        out: NDArray[np.uint8] | None = None,
    ) -> Sample | Unpainted:
        closed = key.closed or key.epoch >= self.close_mosaic_epoch
        augment = self.augment.without_mixing() if closed else self.augment
        imgsz = key.imgsz or self.imgsz
        rng = np.random.default_rng((self.seed, key.epoch, key.position + 1))
        pipeline = Pipeline(augment, imgsz, self.transform)
        arguments = (lambda i: load(i, imgsz), key.position, partners, rng)
        if self.unpainted:
            return unpainted(pipeline.plan(*arguments))
        return pipeline(*arguments, out)

    def _load(self, i: int, imgsz: int) -> Sample:
        load = self.reader.load if self.strict else self.reader.load_or_next
        return load(i, imgsz)


class ValDataset(Dataset[Sample]):
    """Samples with their longest side at `imgsz`, small images enlarged; without padding.

    Args:
        index: the split.
        imgsz: longest side, pixels.
        pixels: images decoded before.
        strict: whether an image that cannot be read is an error; else a batch lacks it, and
            `reader.unreadable` tells.
    """

    def __init__(
        self,
        index: DatasetIndex,
        imgsz: int,
        pixels: Pixels | None = None,
        strict: bool = True,
    ) -> None:
        self.index = index
        self.imgsz = imgsz
        self.reader = Reader(index, upscale=True, quick=False, pixels=pixels)
        self.strict = strict

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Sample:
        return self.reader.load(i, self.imgsz)

    def batch(self, keys: Sequence[int]) -> Iterator[Sample]:
        """The samples of one batch, in order."""
        for i in keys:
            try:
                yield self[i]
            except DatasetError as error:
                if self.strict:
                    raise
                self.reader.unreadable[str(self.index.path(i))] = str(error)
