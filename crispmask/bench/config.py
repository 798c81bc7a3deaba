"""Settings of a benchmark. No torch here: `--help` stays fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from crispmask.errors import ConfigError

FORMS = {
    "pytorch": ((), ""),
    "compiled": ((), ""),
    "onnx": (("onnx", "onnxscript", "onnxruntime"), "crispmask[export]"),
    "openvino": (("onnx", "onnxscript", "openvino"), "crispmask[export,openvino]"),
}
"""Packages each form needs, and what installs them."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Latency, throughput, memory and mAP of a model in every form this machine can run."""

    weights: str
    """Path of a checkpoint, or hf://user/name."""
    data: str = ""
    """Path to a data.yaml: times are of its validation images, and mAP is measured on them."""
    imgsz: int | Literal["auto"] = "auto"
    """Side of the square input, pixels; auto: as trained."""
    forms: str = "pytorch,compiled,onnx,openvino"
    """Forms that are measured, separated by commas."""
    images: int = 20
    """Images the times are of."""
    rounds: int = 5
    """Turns of each form; in every turn it takes all images once."""
    threads: int = 0
    """Cores each form may use; 0: all."""
    conf: float = 0.25
    """Lowest score of an instance, for the times; mAP is measured from 0.001 on."""
    versus: str = ""
    """Another model beside it: .onnx of a YOLO segmentation model, or .pt or .yaml, which the extra
    yolo exports."""
    versus_python: str = ""
    """Python of an environment with the extra yolo; empty: this one."""
    json: str = ""
    """File for the results; empty: none."""

    def __post_init__(self) -> None:
        for wrong, message in (
            (
                self.imgsz != "auto" and (self.imgsz < 32 or self.imgsz % 32 != 0),
                f"--imgsz must be a multiple of 32 or auto, not {self.imgsz}",
            ),
            (self.images < 1, f"--images must be at least 1, not {self.images}"),
            (self.rounds < 1, f"--rounds must be at least 1, not {self.rounds}"),
            (self.threads < 0, f"--threads must not be negative, not {self.threads}"),
            (not 0 <= self.conf <= 1, f"--conf is a score from 0 to 1, not {self.conf}"),
        ):
            if wrong:
                raise ConfigError(message)
        for form in self.chosen():
            if form not in FORMS:
                raise ConfigError(f"--forms: no form {form!r}, there are {', '.join(FORMS)}")

    def chosen(self) -> list[str]:
        """The forms, in their order."""
        return [form.strip() for form in self.forms.split(",") if form.strip()]
