"""Settings of an export. No torch here: `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crispmask.errors import ConfigError
from crispmask.types import Size

Format = Literal["onnx", "openvino", "torch-export", "aot-inductor"]

SUFFIXES: dict[str, str] = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torch-export": ".pt2",
    "aot-inductor": ".pt2",
}
"""How the file of each format ends."""


@dataclass(frozen=True)
class ExportConfig:
    """Writes a graph that ends in final boxes, scores, labels and masks, and compares it."""

    weights: str
    """Path of a checkpoint."""
    format: Format = "onnx"
    """Kind of file; TensorRT builds its engine from onnx, see docs/export.md."""
    imgsz: str = "auto"
    """Input size, pixels: 640, or 480x640 as height x width; auto: square, as trained."""
    batch: int = 1
    """Images per call."""
    dynamic: bool = False
    """Leave batch, height and width free; sides must be multiples of 32."""
    input: Literal["uint8", "float"] = "uint8"
    """Images as uint8 RGB from 0 to 255, or as float32 RGB from 0 to 1."""
    half: bool = False
    """Compute the network in float16; decoding stays float32."""
    fixed_rows: bool = False
    """Always return max-det rows, empty ones at the end, for runtimes without dynamic shapes."""
    conf: float = 0.25
    """Lowest score of an instance, fixed in the graph."""
    nms_iou: float = 0.6
    """Boxes of one class that overlap more are one instance (rtmdet-ins)."""
    max_det: int = 100
    """Most instances per image."""
    out: str = "auto"
    """File to write; auto: beside the checkpoint, with the suffix of the format."""
    data: str = ""
    """Path to a data.yaml whose validation images the export is compared on."""
    source: str = ""
    """Images to compare on instead, as in predict; neither: generated sample scenes."""
    images: int = 4
    """Images to compare on."""
    architecture: str = ""
    """Of a checkpoint of MMDetection: solov2 or rtmdet-ins; found by its tensors if left out."""
    model: str = ""
    """Of a checkpoint of MMDetection: its size or official layout; likewise."""

    def __post_init__(self) -> None:
        for wrong, message in (
            (self.batch < 1, f"--batch must be at least 1, not {self.batch}"),
            (self.dynamic and self.batch != 1, "give --dynamic or --batch, not both"),
            (not 0 <= self.conf <= 1, f"--conf is a score from 0 to 1, not {self.conf}"),
            (not 0 < self.nms_iou <= 1, f"--nms-iou is above 0 to 1, not {self.nms_iou}"),
            (not 1 <= self.max_det <= 500, f"--max-det must be 1 to 500, not {self.max_det}"),
            (self.images < 1, f"--images must be at least 1, not {self.images}"),
            (bool(self.data and self.source), "give --data or --source, not both"),
            (
                self.half and self.format in ("torch-export", "aot-inductor"),
                f"--half is for onnx and openvino, not {self.format}",
            ),
            (
                self.out != "auto" and not self.out.endswith(SUFFIXES[self.format]),
                f"--out {self.out}: a file of --format {self.format} ends in "
                f"{SUFFIXES[self.format]}",
            ),
        ):
            if wrong:
                raise ConfigError(message)
        if self.imgsz != "auto":
            self.size(0)

    def size(self, trained: int) -> Size:
        """(height, width) of the input.

        Args:
            trained: longest side the model was trained with, taken for `auto`.
        """
        if self.imgsz == "auto":
            side = max(32, -(-trained // 32) * 32)
            return side, side
        sides = [int(text) if text.isdecimal() else 0 for text in self.imgsz.lower().split("x")]
        if len(sides) > 2 or any(side < 32 or side % 32 for side in sides):
            raise ConfigError(
                f"--imgsz is a multiple of 32 such as 640, two of them such as 480x640, or auto, "
                f"not {self.imgsz!r}"
            )
        return sides[0], sides[-1]
