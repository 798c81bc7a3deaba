"""OpenVINO IR through OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crispmask.errors import ConfigError, WeightsError
from crispmask.runtime.info import GraphInfo
from crispmask.runtime.model import GraphModel

SECTION = "crispmask"
"""Where the metadata lies in the runtime information of an IR."""


class OpenVinoModel(GraphModel):
    """A model that `crispmask export --format openvino` wrote; needs no torch.

    Args:
        path: the .xml file; the .bin lies beside it.
        device: `auto` and `cpu` mean the CPU; else as OpenVINO names it, such as `gpu` or `npu`.
        all_outputs: whether `run` can return the masks at the input size too; `predict` needs
            none, and without them the graph is faster.

    Raises:
        WeightsError: no such file, damaged, or of something else.
        ConfigError: openvino is missing.
    """

    def __init__(self, path: str | Path, device: str = "auto", all_outputs: bool = False) -> None:
        try:
            import openvino
        except ImportError as error:
            raise ConfigError(f"{path} needs openvino: pip install openvino") from error
        path = Path(path)
        if not path.is_file():
            raise WeightsError(f"{path}: no such file")
        try:
            core = openvino.Core()
            graph = core.read_model(str(path))
            metadata = {
                field.name: graph.get_rt_info([SECTION, field.name]).astype(str)
                for field in fields(GraphInfo)
                if graph.has_rt_info([SECTION, field.name])
            }
            info = GraphInfo.from_metadata(metadata, str(path))
            if not all_outputs:
                for result in graph.get_results():
                    if not result.output(0).get_names() & set(info.needed):
                        graph.remove_result(result)
            name = "CPU" if device in ("auto", "cpu") else device.upper()
            # Other devices would compute in float16 unless they are asked not to.
            hints = {"INFERENCE_PRECISION_HINT": "f32"} if name == "CPU" else {}
            self._compiled = core.compile_model(graph, name, hints)
        except WeightsError:
            raise
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            reason = " ".join(str(error).split())[:120]
            raise WeightsError(f"{path}: OpenVINO cannot load it ({reason})") from error
        super().__init__(path, info)

    def run(
        self, images: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[Any]]:
        """Outputs by name; see `GraphModel.run`."""
        found = self._compiled([images])
        values = {port.get_any_name(): np.asarray(value) for port, value in found.items()}
        return {name: values[name] for name in outputs or values}
