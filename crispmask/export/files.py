"""Writes a graph as a file of each format."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crispmask.errors import ExportError
from crispmask.export.graph import OUTPUTS, ExportGraph
from crispmask.export.nms import onnx_class_nms
from crispmask.runtime.info import GraphInfo
from crispmask.runtime.openvino import SECTION

OPSET = 18
"""Version of the ONNX operators."""

INFO_FILE = "crispmask.json"
"""Where a torch.export package keeps the metadata."""

NEEDED_PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "torch-export": (),
    "aot-inductor": (),
}

_SIZES: dict[str, list[Any]] = {
    "num_detections": ["batch"],
    "boxes": ["batch", "instances", 4],
    "scores": ["batch", "instances"],
    "labels": ["batch", "instances"],
    "masks": ["batch", "instances", "height", "width"],
    "soft_masks": ["batch", "instances", "mask_height", "mask_width"],
}
"""Names of the sizes that are not fixed."""


def check_packages(format_name: str) -> None:
    """Raises ExportError with the pip command if a package of a format is missing."""
    needed = NEEDED_PACKAGES[format_name]
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise ExportError(
            f"--format {format_name} needs {', '.join(missing)}: pip install {' '.join(missing)}"
        )


def write_onnx(graph: ExportGraph, images: Tensor, info: GraphInfo, path: Path) -> None:
    """Writes an ONNX file.

    Args:
        graph: made with `class_nms_node`.
        images: an example input.
        info: becomes the metadata.
        path: file to write.
    """
    import onnx

    dynamic = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC) if info.dynamic else None
    if info.dynamic and len(images) < 2:  # an example of one would fix the batch
        images = images.repeat(2, 1, 1, 1)
    with _quiet():
        program = torch.onnx.export(
            graph,
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": dynamic} if dynamic else None,
            custom_translation_table={torch.ops.crispmask.class_nms.default: onnx_class_nms},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _name_sizes(model, info)
    for node in model.graph.node:  # it carries stack traces with the paths of this machine
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    del model.graph.value_info[:]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, info.to_metadata())
    model.producer_name, model.producer_version = "crispmask", info.crispmask
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def write_openvino(onnx_file: Path, info: GraphInfo, path: Path) -> None:
    """Writes an OpenVINO IR, .xml and .bin, from an ONNX file."""
    import openvino

    with _quiet():
        model = openvino.convert_model(str(onnx_file))
        for key, value in info.to_metadata().items():
            model.set_rt_info(value, [SECTION, key])
        openvino.save_model(model, str(path), compress_to_fp16=info.half)


def export_program(graph: ExportGraph, images: Tensor, info: GraphInfo) -> Any:
    """The graph as an `ExportedProgram`; of a dynamic one height and width are free."""
    dynamic = dict.fromkeys((2, 3), torch.export.Dim.DYNAMIC) if info.dynamic else None
    shapes = {"images": dynamic} if dynamic else None
    with _quiet():
        return torch.export.export(graph, (images,), dynamic_shapes=shapes)


def write_program(program: Any, info: GraphInfo, path: Path) -> None:
    """Writes a torch.export package with the metadata in `INFO_FILE`."""
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={INFO_FILE: _json(info)})


def write_compiled(program: Any, info: GraphInfo, path: Path) -> None:
    """Compiles for this machine with AOTInductor and writes the package."""
    import torch._inductor

    with _quiet():
        torch._inductor.aoti_compile_and_package(
            program,
            package_path=str(path),
            inductor_configs={"aot_inductor.metadata": info.to_metadata()},
        )


def _json(info: GraphInfo) -> str:
    import json

    return json.dumps(info.to_metadata(), ensure_ascii=False, indent=1)


def _name_sizes(model: Any, info: GraphInfo) -> None:
    """Gives sizes that are not fixed a name a user understands."""
    names: dict[str, list[Any]] = {"images": ["batch", 3, "height", "width"], **_SIZES}
    for value in [*model.graph.input, *model.graph.output]:
        for dim, name in zip(value.type.tensor_type.shape.dim, names[value.name], strict=True):
            if dim.WhichOneof("value") != "dim_value":
                dim.dim_param = str(name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporters' notes about themselves from the terminal."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
