"""Models ready to use: build, load, predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crispmask.config import DecodeConfig
from crispmask.data.images import read_image
from crispmask.errors import CrispmaskError, SourceError, WeightsError
from crispmask.geometry.letterbox import fit_size, pad_image, resize_image, round_up
from crispmask.models.build import ModelSpec, build_network
from crispmask.models.checkpoint import Checkpoint, read_checkpoint
from crispmask.models.coco import fetch_coco, find_coco, is_partial
from crispmask.models.detections import to_instances
from crispmask.models.download import Store
from crispmask.models.files import local_path, write_file
from crispmask.models.fill import fill
from crispmask.models.interface import Network
from crispmask.models.weights import apply_weights
from crispmask.types import Instances, Size

Image = NDArray[np.uint8]
Source = str | Path | Image

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
        images: Source | Sequence[Source],
        conf: float = DecodeConfig.conf,
        imgsz: int | Size | None = None,
        max_det: int = DecodeConfig.max_det,
        decode: str | None = None,
    ) -> list[Instances]:
        """Finds the instances of each image.

        Args:
            images: path or paths, or uint8 RGB arrays (H, W, 3).
            conf: lowest score of an instance that is returned.
            imgsz: longest side of the input, or the (height, width) images are fitted into;
                None takes what the model was trained with.
            max_det: most instances per image.
            decode: name of a preset used in place of `conf` and `max_det`; `mmdet` gives
                MMDetection's own test settings.

        Returns:
            One `Instances` per image, in pixels of the image.

        Raises:
            SourceError: an image that is no uint8 RGB array.
            DatasetError: an image file that cannot be read.
        """
        sources = [images] if isinstance(images, str | Path | np.ndarray) else images
        config = self._decode_config(conf, max_det, decode)
        self.network.eval()
        pad_value = self.network.pad_value
        if decode != "mmdet":  # whole numbers, as in training and validation
            r, g, b = pad_value
            pad_value = (round(r), round(g), round(b))
        return [
            self._predict_one(_read(source), imgsz or self.imgsz, config, pad_value)
            for source in sources
        ]

    def _decode_config(self, conf: float, max_det: int, decode: str | None) -> DecodeConfig:
        presets = self.network.presets
        if decode is None:
            default = presets["default"]
            return replace(
                default,
                conf=conf,
                max_det=max_det,
                candidate_conf=min(conf, default.candidate_conf),
            )
        if decode not in presets:
            raise CrispmaskError(f"no decode preset {decode!r}: choose {', '.join(presets)}")
        return presets[decode]

    @torch.inference_mode()
    def _predict_one(
        self,
        image: Image,
        imgsz: int | Size,
        config: DecodeConfig,
        pad_value: tuple[float, float, float],
    ) -> Instances:
        original = (image.shape[0], image.shape[1])
        valid = fit_size(original, imgsz)
        frame = valid if isinstance(imgsz, int) else imgsz
        padded = pad_image(
            resize_image(image, valid),
            (round_up(frame[0], 32), round_up(frame[1], 32)),
            pad_value,
        )
        x = torch.from_numpy(padded).permute(2, 0, 1)[None].to(self.device)  # (1, 3, H, W)
        found = self.network.detect(self.network(x), config)[0]
        return to_instances(found, valid, original, self.names)


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
        ConfigError: no such model, or a backbone that does not fit it.
        WeightsError: the weights cannot be had.
    """
    spec = ModelSpec(architecture, model, num_classes, imgsz, backbone=backbone)
    network = build_network(spec)
    spec = replace(spec, backbone=network.backbone.name)  # with the tag of its weights
    start = apply_weights(network, weights, spec, store)
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
    if path == "coco":
        checkpoint = _published(architecture, model, store or Store())
    else:
        checkpoint = read_checkpoint(local_path(path))
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


def _read(source: Source) -> Image:
    if isinstance(source, str | Path):
        return read_image(Path(source))
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        raise SourceError(
            f"an image is a uint8 RGB array (H, W, 3), not {source.dtype} {source.shape}"
        )
    return source
