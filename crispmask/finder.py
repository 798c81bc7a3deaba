"""The instances of images, found by a network.

Letters: B images, H and W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crispmask.config import DecodeConfig
from crispmask.errors import CrispmaskError
from crispmask.geometry.letterbox import letterbox
from crispmask.inference.run import Find, of_one_shape, tiled
from crispmask.inference.settings import Settings
from crispmask.inference.views import View, merge, mirror, suppress
from crispmask.models.detections import Detections, to_instances
from crispmask.models.interface import Network
from crispmask.sources import Image
from crispmask.types import Instances, Size


def make_finder(
    network: Network[Any], names: tuple[str, ...], imgsz: int, settings: Settings
) -> Find:
    """The function that finds the instances of images.

    Args:
        network: raw network; turned to evaluation.
        names: class names by label.
        imgsz: longest side of the input it was trained with, pixels.
        settings: what the user asks for.

    Raises:
        ConfigError: a class the model does not have, or settings that exclude each other.
        CrispmaskError: a preset the architecture does not have.
    """
    network.eval()
    pad_value = network.pad_value
    if settings.decode != "mmdet":  # whole numbers, as in training and validation
        r, g, b = pad_value
        pad_value = (round(r), round(g), round(b))
    config = _decode_config(network, settings)
    labels = settings.labels(names)
    finder = Finder(
        network,
        names,
        settings.imgsz or imgsz,
        pad_value,
        config,
        settings.iou,
        settings.flip,
        None if labels is None else torch.tensor(labels),
    )
    return tiled(finder, settings, config.max_det, settings.batch)


@dataclass(frozen=True)
class Finder:
    """Finds the instances of images.

    Attributes:
        network: in evaluation mode.
        names: class names by label.
        imgsz: longest side of the input, or the (height, width) to fit into.
        pad_value: RGB around the image.
        config: thresholds and limits.
        iou: greatest overlap of two instances of one class, if the user gave one.
        flip: whether the mirrored image is looked at, too.
        labels: those that are kept; None keeps all.
    """

    network: Network[Any]
    names: tuple[str, ...]
    imgsz: int | Size
    pad_value: tuple[float, float, float]
    config: DecodeConfig
    iou: float | None
    flip: bool
    labels: Tensor | None

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> list[Instances]:
        """The instances of each image (H, W, 3), in its pixels."""
        inputs, valid = zip(
            *(letterbox(image, self.imgsz, self.pad_value) for image in images), strict=True
        )
        results: dict[int, Instances] = {}
        device = next(self.network.parameters()).device
        for group in of_one_shape(inputs):
            stacked = np.stack([inputs[i] for i in group])
            x = torch.from_numpy(stacked).permute(0, 3, 1, 2).to(device)  # (B, 3, H, W)
            for i, found in zip(group, self._detect(x), strict=True):
                original = (images[i].shape[0], images[i].shape[1])
                results[i] = to_instances(found, valid[i], original, self.names)
        return [results[i] for i in range(len(images))]

    def _detect(self, x: Tensor) -> list[Detections]:
        """What is found in each input of (B, 3, H, W)."""
        config, num = self.config, len(x)
        if self.labels is not None:  # others must not take the places of those wanted
            config = replace(config, max_det=max(config.max_det, config.pre_nms))
        if self.flip:  # what one view is unsure of the other may confirm
            low = config.conf / 2
            config = replace(config, conf=low, candidate_conf=min(low, config.candidate_conf))
            x = torch.cat([x, x.flip(3)])  # (2 B, 3, H, W)
        found = [self._wanted(d) for d in self.network.detect(self.network(x), config)]
        if self.flip:
            found = [self._merge(found[i], found[num + i], x.shape[3]) for i in range(num)]
        # Where there are no boxes the network's own suppression knows no iou.
        if self.iou is not None and found[0].boxes is None:
            found = [_to_detections(suppress(_to_view(d), d.threshold, self.iou), d) for d in found]
        return [d[: self.config.max_det] for d in found]

    def _merge(self, found: Detections, mirrored: Detections, width: int) -> Detections:
        """The instances of both views of an input of this width."""
        view = mirror(_to_view(mirrored), width)
        return _to_detections(
            merge(_to_view(found), view, found.threshold, self.config.conf), found
        )

    def _wanted(self, found: Detections) -> Detections:
        if self.labels is None:
            return found
        return found[torch.isin(found.labels, self.labels.to(found.labels.device))]


def _decode_config(network: Network[Any], settings: Settings) -> DecodeConfig:
    presets = network.presets
    if settings.decode is not None:
        if settings.decode not in presets:
            raise CrispmaskError(
                f"no decode preset {settings.decode!r}: choose {', '.join(presets)}"
            )
        return presets[settings.decode]
    default = presets["default"]
    conf = default.conf if settings.conf is None else settings.conf
    return replace(
        default,
        conf=conf,
        max_det=default.max_det if settings.max_det is None else settings.max_det,
        candidate_conf=min(conf, default.candidate_conf),
        nms_iou=default.nms_iou if settings.iou is None else settings.iou,
    )


def _to_view(found: Detections) -> View:
    return View(
        found.scores.float().cpu().numpy(),
        found.labels.cpu().numpy(),
        None if found.boxes is None else found.boxes.float().cpu().numpy(),
        found.soft_masks.float().cpu().numpy(),
    )


def _to_detections(view: View, like: Detections) -> Detections:
    """A view as detections; device, threshold and stride are those of `like`."""

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(like.scores.device)

    return replace(
        like,
        scores=tensor(view.scores),
        labels=tensor(view.labels),
        boxes=None if view.boxes is None else tensor(view.boxes),
        soft_masks=tensor(view.soft_masks),
    )
