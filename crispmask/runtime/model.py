"""From images to instances around whatever runs the graph.

Letters: B batch, N instances, H and W pixels, h and w mask pixels.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.errors import ConfigError
from crispmask.geometry.boxes import masks_to_boxes
from crispmask.geometry.enlarge import runs_of_soft_masks
from crispmask.geometry.letterbox import letterbox
from crispmask.geometry.mask_runs import array_if_small
from crispmask.inference.run import (
    AnySource,
    Find,
    Frame,
    frames_of,
    in_batches,
    of_one_shape,
    run,
    tiled,
)
from crispmask.inference.settings import Settings
from crispmask.inference.views import View, merge, mirror, suppress
from crispmask.runtime.info import GraphInfo
from crispmask.sources import Image
from crispmask.types import Instances, Size

log = logging.getLogger(__name__)


class GraphModel(ABC):
    """An exported model.

    Args:
        path: the file.
        info: what it says about itself.
    """

    def __init__(self, path: Path, info: GraphInfo) -> None:
        self.path = path
        self.info = info

    @abstractmethod
    def run(
        self, images: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Outputs by name.

        Args:
            images: (B, 3, H, W) as `info.input` says.
            outputs: names of those wanted; None for all.
        """

    @property
    def names(self) -> tuple[str, ...]:
        """Class names by label."""
        return self.info.names

    @property
    def imgsz(self) -> int:
        """Longest side of the input it was made for, pixels."""
        return max(self.info.imgsz)

    def predict(
        self,
        images: AnySource | Iterable[AnySource],
        conf: float | None = None,
        imgsz: int | Size | None = None,
        max_det: int | None = None,
        iou: float | None = None,
        classes: Sequence[int | str] | None = None,
        flip: bool = False,
        tile: int | None = None,
        tile_overlap: float = Settings.tile_overlap,
        batch: int = Settings.batch,
    ) -> list[Instances]:
        """Finds the instances of each image, as `Model.predict` of a checkpoint does.

        Args:
            images: uint8 RGB arrays (H, W, 3), paths, folders, globs, lists, URLs, videos: one of
                them or several, see `crispmask.sources.find_sources`.
            conf: lowest score of an instance that is returned; None, or less than what the
                graph was exported with, gives all it finds.
            imgsz: longest side of the input, or the (height, width) images are fitted into;
                only of a dynamic graph can it differ from that of the export.
            max_det: most instances per image, at most those of the export.
            iou: of rtmdet-ins as in the export, where it was fixed; of solov2 instances of one
                class whose masks overlap more are one.
            classes: labels or class names that are returned; None returns all.
            flip: look at the mirrored image, too, and merge what both views have.
            tile: side of square tiles that large images are cut into, pixels; None: no tiles.
            tile_overlap: share of a tile, at least, that its neighbour sees as well.
            batch: images or tiles that are looked at together; only of a dynamic graph can it
                differ from that of the export.

        Returns:
            One `Instances` per image or frame, in pixels of the image.

        Raises:
            ConfigError: a size the graph cannot take, or settings that cannot work.
            SourceError: a source that is not there, an array that is no uint8 RGB.
            DatasetError: an image file that cannot be read.
        """
        settings = Settings(
            conf, imgsz, max_det, None, iou, classes, flip, tile, tile_overlap, batch
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
        return self._run(images, Settings(**settings))

    def _run(
        self, images: AnySource | Iterable[AnySource], settings: Settings
    ) -> Iterator[tuple[Frame, Instances]]:
        return run(self.finder(settings), frames_of(images), self.batch(settings))

    def finder(self, settings: Settings) -> Find:
        """The function that finds the instances of images, with these settings.

        Raises:
            ConfigError: what the graph cannot do.
        """
        frame = self._frame(settings.imgsz)
        labels = settings.labels(self.names)
        self._check(settings)
        max_det = settings.max_det or self.info.max_det
        conf = self.info.conf if settings.conf is None else settings.conf

        def find(images: Sequence[Image]) -> list[Instances]:
            inputs, sizes = zip(
                *(prepare(image, frame, self.info) for image in images), strict=True
            )
            results = []
            for image, valid, view in zip(images, sizes, self._look(inputs, settings), strict=True):
                wanted = view.scores >= conf
                if labels is not None:
                    wanted &= np.isin(view.labels, labels)
                original = (image.shape[0], image.shape[1])
                view = view[np.flatnonzero(wanted)]
                if settings.iou is not None and self.info.mask_boxes:
                    view = suppress(view, self.info.mask_threshold, settings.iou)
                results.append(self._to_instances(view[:max_det], valid, original))
            return results

        return tiled(find, settings, max_det, self.batch(settings))

    def batch(self, settings: Settings) -> int:
        """How many images are best looked at together: as many as the graph takes."""
        return settings.batch if self.info.dynamic else self.info.batch

    def _look(self, inputs: Sequence[NDArray[Any]], settings: Settings) -> list[View]:
        """What is found in each input (3, H, W)."""
        views = self._views(inputs)
        if not settings.flip:
            return views
        mirrored = self._views([np.ascontiguousarray(x[:, :, ::-1]) for x in inputs])
        threshold = self.info.mask_threshold
        return [
            merge(view, mirror(other, x.shape[2]), threshold, 0)
            for x, view, other in zip(inputs, views, mirrored, strict=True)
        ]

    def _views(self, inputs: Sequence[NDArray[Any]]) -> list[View]:
        views: dict[int, View] = {}
        for group in of_one_shape(inputs):
            # A graph of a fixed batch gets just as many: the last ones may stay empty.
            num = len(group) if self.info.dynamic else self.info.batch
            for some in in_batches(group, num):
                x = np.zeros((num, *inputs[group[0]].shape), dtype=inputs[0].dtype)
                for place, i in enumerate(some):
                    x[place] = inputs[i]
                outputs = self.run(x, self.info.needed)
                for place, i in enumerate(some):
                    views[i] = self._view(outputs, place)
        return [views[i] for i in range(len(inputs))]

    def _view(self, outputs: dict[str, NDArray[Any]], place: int) -> View:
        count = int(outputs["num_detections"][place])
        found = {name: outputs[name][place, :count] for name in self.info.needed[1:]}
        boxes = found.get("boxes")
        return View(
            found["scores"].astype(np.float32),
            found["labels"].astype(np.int64),
            None if boxes is None else boxes.astype(np.float32),
            found["soft_masks"],
        )

    def _to_instances(self, view: View, valid: Size, original: Size) -> Instances:
        soft_masks, info = view.soft_masks, self.info
        masks = runs_of_soft_masks(
            soft_masks, info.mask_threshold, info.mask_stride, valid, original
        )
        if view.boxes is None:
            boxes = masks_to_boxes(masks)
        else:
            (h, w), (height, width) = valid, original
            scale = np.array([width / w, height / h] * 2, dtype=np.float32)
            limit = np.array([width, height] * 2, dtype=np.float32)
            boxes = np.clip(view.boxes * scale, 0, limit)
        return Instances(view.scores, view.labels, boxes, array_if_small(masks), self.names)

    def _frame(self, imgsz: int | Size | None) -> int | Size:
        size = self.info.imgsz
        if self.info.dynamic:
            return imgsz or (size[0] if size[0] == size[1] else size)
        if imgsz is not None and imgsz not in (size, size[0] if size[0] == size[1] else size):
            raise ConfigError(
                f"{self.path}: its input is {size[0]} x {size[1]}; export again with "
                "--dynamic, or with another --imgsz"
            )
        return size

    def _check(self, settings: Settings) -> None:
        info = self.info
        fixed = not info.mask_boxes and settings.iou != info.nms_iou
        if settings.iou is not None and fixed:
            raise ConfigError(
                f"--iou {settings.iou:g}: {self.path} has {info.nms_iou:g} inside; "
                "export it again with --nms-iou"
            )
        if settings.conf is not None and settings.conf < info.conf:
            log.warning(
                "%s was exported with conf %g: lower scores are missing", self.path, info.conf
            )
        if settings.max_det is not None and settings.max_det > info.max_det:
            log.warning(
                "%s was exported with max_det %d: there are no more", self.path, info.max_det
            )


def prepare(image: Image, frame: int | Size, info: GraphInfo) -> tuple[NDArray[Any], Size]:
    """The input (3, H, W) of an image, and its (height, width) without padding.

    Args:
        image: uint8 RGB (H, W, 3).
        frame: longest side, or the (height, width) to fit into.
        info: what the graph wants.
    """
    padded, valid = letterbox(image, frame, info.pad_value)
    x = np.ascontiguousarray(padded.transpose(2, 0, 1))
    return (x / np.float32(255) if info.input == "float" else x), valid
