"""What an exported model says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from crispmask.errors import WeightsError
from crispmask.types import Size


@dataclass(frozen=True)
class GraphInfo:
    """The metadata of an exported model; each field is one entry, in JSON unless it is text.

    Attributes:
        crispmask: version of the package that exported it.
        architecture: `solov2` or `rtmdet-ins`.
        model: its size.
        names: class names by label.
        imgsz: (height, width) of the input; of a dynamic graph, of the size it was made for.
        batch: images per call; of a dynamic graph the most common number, 1.
        dynamic: whether batch, height and width are free; sides are multiples of 32.
        input: `uint8`, RGB from 0 to 255, or `float`, float32 RGB from 0 to 1.
        pad_value: RGB from 0 to 255 around an image that is smaller than the input.
        conf: lowest score of an instance.
        nms_iou: boxes of one class that overlap more are one instance (rtmdet-ins).
        max_det: most instances per image.
        fixed_rows: whether there are always `max_det` rows.
        half: whether the arithmetic of the network is float16.
        mask_threshold: a soft mask above it is inside the instance.
        mask_stride: input pixels per pixel of the soft masks.
        mask_boxes: whether boxes are those around the masks.
    """

    crispmask: str
    architecture: str
    model: str
    names: tuple[str, ...]
    imgsz: Size
    batch: int
    dynamic: bool
    input: str
    pad_value: tuple[int, int, int]
    conf: float
    nms_iou: float
    max_det: int
    fixed_rows: bool
    half: bool
    mask_threshold: float
    mask_stride: int
    mask_boxes: bool

    @property
    def needed(self) -> tuple[str, ...]:
        """Outputs that `predict` reads; it draws the masks itself, at the size of the image."""
        outputs = ("num_detections", "scores", "labels", "soft_masks")
        return outputs if self.mask_boxes else (*outputs, "boxes")

    def to_metadata(self) -> dict[str, str]:
        """Text by key, as ONNX stores it."""
        return {
            key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: str) -> GraphInfo:
        """The inverse of `to_metadata`.

        Raises:
            WeightsError: the model was not exported by this package.
        """
        values: dict[str, Any] = {}
        try:
            for field in fields(cls):
                text = metadata[field.name]
                value = text if field.type == "str" else json.loads(text)
                values[field.name] = tuple(value) if isinstance(value, list) else value
        except (KeyError, ValueError) as error:
            raise WeightsError(
                f"{path}: not exported by crispmask, or by another version of it; "
                "make it again with crispmask export"
            ) from error
        return cls(**values)
