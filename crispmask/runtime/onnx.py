"""ONNX files through ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.errors import ConfigError, WeightsError
from crispmask.runtime.info import GraphInfo
from crispmask.runtime.model import GraphModel
from crispmask.runtime.prune import prune, read_metadata


class OnnxModel(GraphModel):
    """A model that `crispmask export --format onnx` wrote; needs no torch.

    Args:
        path: the file.
        device: `auto` or `cpu`; `cuda` or the number of a GPU needs onnxruntime-gpu.
        threads: threads of one operation; 0 takes all cores.
        all_outputs: whether `run` can return the masks at the input size too; `predict` needs
            none, and without them the graph is faster.

    Raises:
        WeightsError: no such file, damaged, or of something else.
        ConfigError: onnxruntime is missing, or no such device.
    """

    def __init__(
        self, path: str | Path, device: str = "auto", threads: int = 0, all_outputs: bool = False
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(f"{path} needs onnxruntime: pip install onnxruntime") from error
        path = Path(path)
        if not path.is_file():
            raise WeightsError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3  # errors only: it warns of shapes it cannot know
        providers = _providers(device, onnxruntime.get_available_providers())
        model = path.read_bytes()
        try:
            metadata = read_metadata(model)
        except ValueError as error:
            raise WeightsError(f"{path}: not a readable ONNX file ({error})") from error
        info = GraphInfo.from_metadata(metadata, str(path))
        try:
            self._session = onnxruntime.InferenceSession(
                model if all_outputs else prune(model, info.needed),
                sess_options=options,
                providers=providers,
            )
        except Exception as error:  # onnxruntime raises kinds of its own
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(f"{path}: not a readable ONNX file ({reason})") from error
        super().__init__(path, info)

    def run(
        self, images: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Outputs by name; see `GraphModel.run`."""
        names = list(outputs or (output.name for output in self._session.get_outputs()))
        values = self._session.run(names, {"images": images})
        return {name: np.asarray(v) for name, v in zip(names, values, strict=True)}


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    cuda = "CUDAExecutionProvider"
    if device == "cpu" or (device == "auto" and cuda not in available):
        return ["CPUExecutionProvider"]
    number = device.removeprefix("cuda").lstrip(":") or "0"
    if device != "auto" and (cuda not in available or not number.isdecimal()):
        raise ConfigError(f"--device {device}: this onnxruntime has no such device; use cpu")
    index = 0 if device == "auto" else int(number)
    return [(cuda, {"device_id": index}), "CPUExecutionProvider"]
