"""Models ready to use: build, load, predict."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from crispmask.config import DecodeConfig
from crispmask.errors import ConfigError, WeightsError
from crispmask.finder import make_finder
from crispmask.inference.run import AnySource, Find, Frame, frames_of, run
from crispmask.inference.settings import Settings
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.checkpoint import Checkpoint, read_checkpoint
from crispmask.models.coco import fetch_coco, find_coco, is_partial
from crispmask.models.download import Store
from crispmask.models.files import write_file
from crispmask.models.fill import fill
from crispmask.models.interface import Network
from crispmask.models.locate import local_path
from crispmask.models.weights import apply_weights
from crispmask.types import Instances, Size

log = logging.getLogger(__name__)

DEFAULT_IMGSZ = 640
"""Longest side of the input of a model that does not say what it was trained with."""


@dataclass(frozen=True)
class Model:
    """A network with what is needed to use it.

    Attributes:
        network: the raw network: forward, loss, decode.
        spec: what defines the network.
        names: class names by label.
        imgsz: longest side of the input it was trained with, pixels.
    """

    network: Network[Any]
    spec: ModelSpec
    names: tuple[str, ...]
    imgsz: int

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return next(self.network.parameters()).device

    def to(self, device: str | torch.device) -> Model:
        """Moves the network; returns the same model."""
        self.network.to(device)
        return self

    def save(self, path: str | Path) -> None:
        """Writes a checkpoint that `crispmask.load` reads.

        Args:
            path: a name that ends in `.safetensors` gets that format, any other that of
                torch.save.
        """
        content = {
            "architecture": self.spec.architecture,
            "model": self.spec.model,
            "num_classes": self.spec.num_classes,
            "class_names": list(self.names),
            "imgsz": self.imgsz,
            "network": self.spec.to_dict(),
            "state_dict": self.network.state_dict(),
        }
        write_file(Path(path), content)

    def predict(
        self,
        images: AnySource | Iterable[AnySource],
        conf: float = DecodeConfig.conf,
        imgsz: int | Size | None = None,
        max_det: int = DecodeConfig.max_det,
        decode: str | None = None,
        iou: float | None = None,
        classes: Sequence[int | str] | None = None,
        flip: bool = False,
        tile: int | None = None,
        tile_overlap: float = Settings.tile_overlap,
        batch: int = Settings.batch,
    ) -> list[Instances]:
        """Finds the instances of each image.

        Args:
            images: uint8 RGB arrays (H, W, 3), paths, folders, globs, lists, URLs, videos: one of
                them or several, see `crispmask.sources.find_sources`.
            conf: lowest score of an instance that is returned.
            imgsz: longest side of the input, or the (height, width) images are fitted into;
                None takes what the model was trained with.
            max_det: most instances per image.
            decode: name of a preset used in place of `conf` and `max_det`; `mmdet` gives
                MMDetection's own test settings.
            iou: instances of one class that overlap more are one: boxes of rtmdet-ins, masks of
                solov2; None takes the model's own.
            classes: labels or class names that are returned; None returns all.
            flip: look at the mirrored image, too, and merge what both views have.
            tile: side of square tiles that large images are cut into, pixels; None: no tiles.
            tile_overlap: share of a tile, at least, that its neighbour sees as well.
            batch: images or tiles that are looked at together; faster on a GPU.

        Returns:
            One `Instances` per image or frame, in pixels of the image.

        Raises:
            SourceError: a source that is not there, an array that is no uint8 RGB.
            DatasetError: an image file that cannot be read.
            ConfigError: settings that cannot work.
        """
        settings = Settings(
            conf, imgsz, max_det, decode, iou, classes, flip, tile, tile_overlap, batch
        )
        return [found for _, found in self._run(images, settings)]

    def stream(
        self, images: AnySource | Iterable[AnySource], **settings: Any
    ) -> Iterator[tuple[Frame, Instances]]:
        """As `predict`, one image or frame after the other: for videos and cameras.

        Args:
            images: as of `predict`.
            **settings: the other arguments of `predict`.

        Yields:
            Name and pixels of a frame, and its instances.
        """
        return self._run(images, Settings(**{"conf": None, **settings}))

    def _run(
        self, images: AnySource | Iterable[AnySource], settings: Settings
    ) -> Iterator[tuple[Frame, Instances]]:
        return run(self.finder(settings), frames_of(images), settings.batch)

    def finder(self, settings: Settings) -> Find:
        """The function that finds the instances of images, with these settings.

        Raises:
            ConfigError: a class the model does not have, or settings that exclude each other.
        """
        return make_finder(self.network, self.names, self.imgsz, settings)


def build(
    architecture: str,
    model: str,
    num_classes: int = 80,
    weights: str | None = None,
    imgsz: int | None = None,
    names: Sequence[str] | None = None,
    backbone: str | None = None,
    store: Store | None = None,
) -> Model:
    """A new model.

    Args:
        architecture: `solov2` or `rtmdet-ins`.
        model: a size of `list_models()` or an official layout.
        num_classes: K.
        weights: None or `none` for random ones, `imagenet`, `coco`, or a path.
        imgsz: longest image side it is made for; None keeps the published grids.
        names: class names; None takes those of the weights if they have as many, or else
            class_0, class_1 ...
        backbone: timm name of another backbone than that of the model.
        store: where downloads are kept; None takes the user's cache folder.

    Raises:
        ConfigError: no such model, a backbone that does not fit it, or names of other classes.
        WeightsError: the weights cannot be had.
    """
    if names is not None and len(names) != num_classes:
        raise ConfigError(f"{len(names)} names of {num_classes} classes; give one name per class")
    spec = ModelSpec(architecture, model, num_classes, imgsz, backbone=backbone)
    network = build_network(spec)
    spec = replace(spec, backbone=network.backbone.name)  # with the tag of its weights
    start = apply_weights(network, weights, spec, store)
    if weights not in (None, "none", "imagenet") and not start.complete:
        log.warning("%s; train the model before it is used", start.line)
    names = tuple(names or start.class_names or (f"class_{i}" for i in range(num_classes)))
    return Model(network.eval(), spec, names, imgsz or DEFAULT_IMGSZ)


def load(
    path: str | Path,
    architecture: str | None = None,
    model: str | None = None,
    device: str | torch.device = "cpu",
    store: Store | None = None,
) -> Model:
    """The model of a checkpoint.

    Args:
        path: a checkpoint of this package, which describes itself, or of MMDetection 3.x;
            `coco` for the published one of an architecture and model.
        architecture: of an MMDetection checkpoint; found by its tensors if left out.
        model: its size or official layout; likewise.
        device: where the network shall live.
        store: where downloads are kept; None takes the user's cache folder.

    Raises:
        WeightsError: not to be had, not readable, of another model, or with a tensor that
            has no place here.
    """
    store = store or Store()
    if path == "coco":
        checkpoint = _published(architecture, model, store)
    else:
        checkpoint = read_checkpoint(local_path(path, store.offline))
    spec = checkpoint.find_spec(architecture, model)
    network = build_network(spec)
    fill(network, checkpoint)
    names, imgsz = checkpoint.class_names, checkpoint.imgsz or DEFAULT_IMGSZ
    return Model(network.eval().to(device), spec, names, imgsz)


def _published(architecture: str | None, model: str | None, store: Store) -> Checkpoint:
    if architecture is None or model is None:
        raise WeightsError("--weights coco needs --architecture and --model")
    row = find_coco(architecture, model)
    if is_partial(architecture, model):
        raise WeightsError(
            f"--weights coco: there are none of a whole {architecture} {model}; the model they "
            f"are of is --model {row.layout}"
        )
    return fetch_coco(row, store)
