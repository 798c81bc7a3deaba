"""The forms a model is run in: each finds instances and says how long its parts took."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from crispmask.sources import Image
from crispmask.types import Instances

if TYPE_CHECKING:
    from crispmask.runtime.model import GraphModel

PARTS = ("prepare", "network", "decode", "masks")
"""What a prediction consists of: fitting the image into the input; the network, of a graph with
its decoding; from outputs to instances with small masks; masks at the size of the image."""


class Form(ABC):
    """A model that is ready to run."""

    @abstractmethod
    def run(self, image: Image) -> tuple[Instances, list[float]]:
        """The instances of an image (H, W, 3), and the seconds of each of `PARTS`."""


class TorchForm(Form):
    """A checkpoint in PyTorch.

    Args:
        weights: path of the checkpoint.
        imgsz: side of the square input.
        conf: lowest score.
        compiled: whether torch.compile translates the network.
    """

    def __init__(self, weights: str, imgsz: int, conf: float, compiled: bool) -> None:
        import torch

        from crispmask.finder import Finder, make_finder
        from crispmask.inference.settings import Settings
        from crispmask.predict import load

        self._torch = torch
        model = load(weights)
        settings = Settings(conf=conf, imgsz=(imgsz, imgsz))
        finder = make_finder(model.network, model.names, model.imgsz, settings)
        assert isinstance(finder, Finder)  # without tiles
        self._finder = finder
        self._network: Any = torch.compile(model.network) if compiled else model.network
        self._model = model

    def run(self, image: Image) -> tuple[Instances, list[float]]:
        """See `Form.run`."""
        from crispmask.geometry.letterbox import letterbox
        from crispmask.models.detections import to_instances

        torch, finder = self._torch, self._finder
        with torch.inference_mode():
            times = [time.perf_counter()]
            padded, valid = letterbox(image, finder.imgsz, finder.pad_value)
            x = torch.from_numpy(padded).permute(2, 0, 1)[None].contiguous()
            times.append(time.perf_counter())
            outputs = self._network(x)
            times.append(time.perf_counter())
            (found,) = self._model.network.detect(outputs, finder.config)
            times.append(time.perf_counter())
            size = (image.shape[0], image.shape[1])
            instances = to_instances(found, valid, size, self._model.names)
            times.append(time.perf_counter())
        return instances, np.diff(times).tolist()


class GraphForm(Form):
    """An exported graph."""

    def __init__(self, model: GraphModel) -> None:
        self._model = model

    def run(self, image: Image) -> tuple[Instances, list[float]]:
        """See `Form.run`."""
        from crispmask.runtime.model import prepare

        model, start = self._model, time.perf_counter()
        x, valid = prepare(image, model.info.imgsz, model.info)
        prepared = time.perf_counter()
        (view,) = model._views([x])
        ran = time.perf_counter()
        instances = model._to_instances(view, valid, (image.shape[0], image.shape[1]))
        return instances, [prepared - start, ran - prepared, 0.0, time.perf_counter() - ran]
