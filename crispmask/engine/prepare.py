"""What a run needs before its first step: data, network, loaders."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console

from crispmask.augment.transform import Transform
from crispmask.data.dataset import TrainDataset, ValDataset
from crispmask.data.device_images import DeviceImages
from crispmask.data.images import HEIF_REMEDY
from crispmask.data.index import DatasetIndex
from crispmask.data.loader import BatchLoader, train_loader, val_loader
from crispmask.data.painter import Painter
from crispmask.data.pixels import PixelCache
from crispmask.data.scan import build_index
from crispmask.data.spec import DatasetSpec
from crispmask.engine.annotations import load_annotations, reuse_annotations, write_annotations
from crispmask.engine.device import usable_workers
from crispmask.engine.image_cache import cache_images
from crispmask.engine.plots import plot_labels
from crispmask.engine.progress import show_bar
from crispmask.engine.resolve import Settings
from crispmask.errors import DatasetError
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.download import Progress, Store, offline_by_default
from crispmask.models.interface import Network
from crispmask.models.weights import apply_weights

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Data:
    """The splits of a dataset.

    Attributes:
        spec: its data.yaml.
        train: the training split.
        val: the validation split.
        ground_truth: COCO annotations of the validation split.
        train_pixels: decoded images of the training split.
        val_pixels: decoded images of the validation split.
        unreadable: images of both that are left out, because they cannot be read.
    """

    spec: DatasetSpec
    train: DatasetIndex
    val: DatasetIndex
    ground_truth: dict[str, Any]
    train_pixels: PixelCache | None = None
    val_pixels: PixelCache | None = None
    unreadable: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.spec.names


@dataclass(frozen=True, slots=True)
class Loaders:
    """The batches of both splits."""

    train: BatchLoader
    val: BatchLoader

    @property
    def unreadable(self) -> set[str]:
        """The images of both splits that could not be read so far."""
        return self.train.unreadable | self.val.unreadable

    def set_epoch(self, epoch: int, closed: bool = False) -> None:
        """Chooses the order and the random changes of the training images.

        Args:
            epoch: from 0.
            closed: whether mosaic, mixup and copy-paste are left out already.
        """
        self.train.set_epoch(epoch, closed)


VAL_BATCH = 16
"""Most images of a batch of validation. It does not depend on the number of processes, so that
padding and results do not either; beside many GPUs `--batch` may be more than one can take."""


def val_batch(settings: Settings) -> int:
    """Images of a batch of validation."""
    return min(settings.batch, VAL_BATCH)


def read_data(settings: Settings, spec: DatasetSpec, console: Console, writes: bool = True) -> Data:
    """Reads the dataset and writes its annotations and labels.png into the work dir.

    Args:
        settings: of the run.
        spec: the dataset.
        console: where progress is shown.
        writes: whether files are written, and ground truth is needed.

    Raises:
        DatasetError: it cannot be read, or has nothing to train with.
    """
    config, work_dir = settings.config, settings.work_dir
    indexes = []
    unreadable: list[str] = []
    heif: list[str] = []

    def leave_out(path: str, problem: str) -> None:
        unreadable.append(path)
        if problem.endswith(HEIF_REMEDY):  # a phone's: perhaps all of them
            heif.append(problem)
        elif writes:  # each process finds the same
            log.warning("%s; it is left out", problem)

    for split, paths in (("train", spec.train), ("val", spec.val)):
        with show_bar(console, f"reading {split}", len(paths)) as bar:
            processes = None if config.workers else 0
            bad = None if config.strict else leave_out
            indexes.append(build_index(paths, len(spec.names), processes, bar.reach, bad))
    if heif and writes:
        rest = f" and {len(heif) - 1} more" if len(heif) > 1 else ""
        log.warning("%s%s; without that they are left out", heif[0], rest)
    train, val = indexes
    for split, index in (("train", train), ("val", val)):
        if len(index) == 0:
            raise DatasetError(f"{spec.file}: no images in {split}; check its path")
    if train.num_instances() == 0:
        raise DatasetError(f"{spec.file}: no training image has an instance; check the labels")
    ground_truth: dict[str, Any] = {"images": [], "annotations": []}
    if writes:
        work_dir.path.mkdir(parents=True, exist_ok=True)
        splits = {"train": train, "val": val}
        if config.skip_conversion:
            reuse_annotations(work_dir, splits, spec.names)
        else:
            write_annotations(work_dir.annotations, splits, spec.names)
        plot_labels(train, spec.names, work_dir.path / "labels.png")
        ground_truth = load_annotations(work_dir.annotations, "val")
    mode, imgsz = config.cache, config.imgsz
    return Data(
        spec,
        train,
        val,
        ground_truth,
        cache_images(config.train_cache(), "train", train, imgsz, True, console),
        cache_images(mode, "val", val, imgsz, False, console),
        tuple(unreadable),
    )


def make_network(
    settings: Settings,
    num_classes: int,
    load: bool,
    on_download: Progress = lambda name, done, total: None,
) -> tuple[Network[Any], ModelSpec, str]:
    """The network, what defines it, and a line about its weights.

    Args:
        settings: of the run.
        num_classes: K.
        load: whether to fill it with the starting weights asked for.
        on_download: told how a download of them goes.

    Raises:
        ConfigError: the backbone does not fit, or has no such stage to freeze.
        WeightsError: the weights cannot be had.
    """
    config = settings.config
    spec = ModelSpec(
        config.architecture,
        config.model,
        num_classes,
        config.imgsz,
        config.mask_stride,
        config.num_cells(),
        backbone=config.backbone,
    )
    network = build_network(spec)
    weights = config.weights if load else "none"
    store = Store(Path(config.cache_dir), config.offline or offline_by_default(), on_download)
    line = apply_weights(network, weights, spec, store).line
    if settings.freeze or settings.norm_eval:
        network.backbone.fix(settings.freeze, settings.norm_eval)
    return network, spec, line


def make_loaders(
    settings: Settings,
    data: Data,
    pad_value: tuple[float, float, float],
    fabric: Fabric,
    transform: Transform | None = None,
    images: DeviceImages | None = None,
) -> Loaders:
    """Batches of the training split with random changes, of the validation split without.

    Args:
        settings: of the run.
        data: the splits.
        pad_value: RGB of the padding.
        fabric: says which share of the images is ours.
        transform: the user's own change of training images.
        images: those of the training split on the device that paints them.
    """
    config = settings.config
    train = TrainDataset(
        data.train,
        config.imgsz,
        config.augment,
        config.seed,
        config.epochs - settings.close_mosaic,
        config.mosaic_partners,
        transform,
        data.train_pixels if images is None else images.blanks(),
        config.strict,
        unpainted=images is not None,
    )
    workers = usable_workers(config.workers, settings.ranks.per_node)
    pin_memory = fabric.device.type == "cuda"
    loaders = Loaders(
        train_loader(
            train,
            settings.batch,
            workers,
            config.mask_stride,
            pad_value,
            config.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            pin_memory=pin_memory,
            multi_scale=config.multi_scale,
            painter=None if images is None else Painter(images),
        ),
        val_loader(
            ValDataset(data.val, config.imgsz, data.val_pixels, config.strict),
            val_batch(settings),
            workers,
            config.mask_stride,
            pad_value,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
            pin_memory=pin_memory,
        ),
    )
    loaders.train.unreadable.update(data.unreadable)
    return loaders
