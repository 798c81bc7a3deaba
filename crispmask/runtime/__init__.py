"""Exported models without torch: ONNX Runtime or OpenVINO, NumPy and OpenCV are enough."""

from crispmask.runtime.onnx import OnnxModel
from crispmask.runtime.openvino import OpenVinoModel

__all__ = ["OnnxModel", "OpenVinoModel"]
