"""From images to instances around whatever runs the graph.

Letters: B batch, N instances, H and W pixels, h and w mask pixels.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from crispmask.errors import ConfigError, SourceError
from crispmask.geometry.boxes import masks_to_boxes
from crispmask.geometry.letterbox import fit_size, pad_image, resize_image, round_up
from crispmask.geometry.mask_runs import collect_masks
from crispmask.runtime.info import GraphInfo
from crispmask.types import Instances, Size

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]
Source = str | Path | Image
Row = dict[str, NDArray[Any]]

NEEDED = ("num_detections", "boxes", "scores", "labels", "soft_masks")
"""Outputs of the graph that `predict` reads; it draws the masks itself, at the native size."""


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
        images: Source | Sequence[Source],
        conf: float | None = None,
        imgsz: int | Size | None = None,
        max_det: int | None = None,
    ) -> list[Instances]:
        """Finds the instances of each image, as `Model.predict` of a checkpoint does.

        Args:
            images: path or paths, or uint8 RGB arrays (H, W, 3).
            conf: lowest score of an instance that is returned; None, or less than what the
                graph was exported with, gives all it finds.
            imgsz: longest side of the input, or the (height, width) images are fitted into;
                only of a dynamic graph can it differ from that of the export.
            max_det: most instances per image, at most those of the export.

        Returns:
            One `Instances` per image, in pixels of the image.

        Raises:
            ConfigError: a size the graph cannot take.
            SourceError: an image that is no uint8 RGB array.
            DatasetError: an image file that cannot be read.
        """
        sources = [images] if isinstance(images, str | Path | np.ndarray) else list(images)
        frame = self._frame(imgsz)
        self._warn(conf, max_det)
        found: list[Instances] = []
        step = 1 if self.info.dynamic else self.info.batch
        for start in range(0, len(sources), step):
            pixels = [_read(source) for source in sources[start : start + step]]
            for row, valid, original in self._run_some(pixels, frame):
                instances = self._to_instances(row, valid, original)
                chosen = instances.scores >= (conf or 0)
                found.append(instances[np.flatnonzero(chosen)[: max_det or None]])
        return found

    def _run_some(self, images: list[Image], frame: int | Size) -> Iterator[tuple[Row, Size, Size]]:
        """Yields the rows in use of each image, its size in the input and in its file."""
        inputs, sizes = zip(*(prepare(image, frame, self.info) for image in images), strict=True)
        missing = 0 if self.info.dynamic else self.info.batch - len(inputs)
        x = np.stack([*inputs, *[np.zeros_like(inputs[0])] * missing])  # (B, 3, H, W)
        outputs = self.run(x, NEEDED)
        for i, (image, valid) in enumerate(zip(images, sizes, strict=True)):
            count = int(outputs["num_detections"][i])
            row = {name: outputs[name][i, :count] for name in NEEDED[1:]}
            yield row, valid, (image.shape[0], image.shape[1])

    def _to_instances(self, row: Row, valid: Size, original: Size) -> Instances:
        soft_masks, info = row["soft_masks"], self.info
        chunks = paste_masks(soft_masks, valid, original, info.mask_threshold, info.mask_stride)
        masks = collect_masks(chunks, len(soft_masks), original)
        if self.info.mask_boxes:
            boxes = masks_to_boxes(masks)
        else:
            (h, w), (height, width) = valid, original
            scale = np.array([width / w, height / h] * 2, dtype=np.float32)
            limit = np.array([width, height] * 2, dtype=np.float32)
            boxes = np.clip(row["boxes"] * scale, 0, limit)
        return Instances(
            scores=row["scores"].astype(np.float32),
            labels=row["labels"].astype(np.int64),
            boxes=boxes.astype(np.float32),
            masks=masks,
            names=self.names,
        )

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

    def _warn(self, conf: float | None, max_det: int | None) -> None:
        if conf is not None and conf < self.info.conf:
            log.warning(
                "%s was exported with conf %g: lower scores are missing", self.path, self.info.conf
            )
        if max_det is not None and max_det > self.info.max_det:
            log.warning(
                "%s was exported with max_det %d: there are no more", self.path, self.info.max_det
            )


def prepare(image: Image, frame: int | Size, info: GraphInfo) -> tuple[NDArray[Any], Size]:
    """The input (3, H, W) of an image, and its (height, width) without padding.

    Args:
        image: uint8 RGB (H, W, 3).
        frame: longest side, or the (height, width) to fit into.
        info: what the graph wants.
    """
    valid = fit_size((image.shape[0], image.shape[1]), frame)
    height, width = valid if isinstance(frame, int) else frame
    size = (round_up(height, 32), round_up(width, 32))
    padded = pad_image(resize_image(image, valid), size, info.pad_value)
    x = np.ascontiguousarray(padded.transpose(2, 0, 1))
    return (x / np.float32(255) if info.input == "float" else x), valid


def paste_masks(
    soft_masks: NDArray[Any], valid: Size, original: Size, threshold: float, stride: int
) -> Iterator[NDArray[np.bool_]]:
    """Yields the masks (1, H, W) at the size of the image file.

    Enlarges to the input, cuts the padding off and resizes to the file, bilinear, as
    `crispmask.models.detections.paste_masks` does.

    Args:
        soft_masks: (N, h, w).
        valid: (height, width) of the resized image inside the input.
        original: (height, width) of the image file.
        threshold: a soft mask above it is inside the instance.
        stride: input pixels per mask pixel.
    """
    for soft in soft_masks:
        h, w = soft.shape
        x = cv2.resize(soft.astype(np.float32), (w * stride, h * stride))
        x = x[: valid[0], : valid[1]]
        if original != valid:
            x = cv2.resize(x, (original[1], original[0]))
        yield (x > threshold)[None]


def _read(source: Source) -> Image:
    if isinstance(source, str | Path):
        from crispmask.data.images import read_image  # it needs Pillow; arrays do not

        return read_image(source)
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        raise SourceError(
            f"an image is a uint8 RGB array (H, W, 3), not {source.dtype} {source.shape}"
        )
    return source
