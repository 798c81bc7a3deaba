"""One export: build the graph, write it, run it beside PyTorch, and only then keep it."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crispmask.data.images import read_image
from crispmask.data.scenes import draw_sample
from crispmask.errors import ExportError
from crispmask.export.compare import FULL, HALF, Comparison, compare
from crispmask.export.config import SUFFIXES, ExportConfig
from crispmask.export.files import (
    check_packages,
    export_program,
    write_compiled,
    write_onnx,
    write_openvino,
    write_program,
)
from crispmask.export.graph import OUTPUTS, ExportGraph
from crispmask.export.nms import class_nms_node, loop_class_nms
from crispmask.models.locate import path_beside
from crispmask.models.solov2.model import Solov2
from crispmask.predict import Model, load
from crispmask.runtime import OnnxModel, OpenVinoModel
from crispmask.runtime.info import GraphInfo
from crispmask.runtime.model import prepare
from crispmask.types import Instances
from crispmask.version import __version__

Arrays = dict[str, NDArray[Any]]
Run = Callable[[NDArray[Any]], Arrays]
"""Runs an export: images (B, 3, H, W) to outputs by name."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote.

    Attributes:
        path: the file; of OpenVINO the .xml, with the .bin beside it.
        info: what the file says about itself.
        comparison: how far it is from PyTorch.
    """

    path: Path
    info: GraphInfo
    comparison: Comparison


def export(config: ExportConfig, images: Sequence[Path] = ()) -> ExportResult:
    """Writes a checkpoint in another format and compares the two.

    Args:
        config: settings; its `data` and `source` are for the command to resolve.
        images: files to compare on; none takes generated sample scenes.

    Raises:
        ExportError: a package is missing, or the results differ too much: nothing is written.
        WeightsError: a checkpoint that cannot be used.
        DatasetError: an image that cannot be read.
    """
    check_packages(config.format)
    model = load(config.weights, config.architecture or None, config.model or None)
    graph, info = build_graph(model, config)
    path = _target(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        partial = Path(folder) / path.name
        run = _write(graph, info, config, partial)
        tolerance = HALF if config.half else FULL
        if info.mask_boxes:
            tolerance = replace(tolerance, box=math.inf)
        pairs = _run_both(model, graph, info, run, _pictures(images, config.images, info))
        comparison = compare(pairs, config.conf, config.max_det, tolerance)
        if not comparison.agrees:
            raise ExportError(
                f"{path} was not written, its results are not those of PyTorch: "
                + comparison.in_words()
            )
        for file in sorted(Path(folder).iterdir()):  # the .bin before the .xml that needs it
            os.replace(file, path.parent / file.name)
    return ExportResult(path, info, comparison)


def build_graph(model: Model, config: ExportConfig) -> tuple[ExportGraph, GraphInfo]:
    """The graph of a model and what it says about itself."""
    default = model.network.presets["default"]
    decode = replace(
        default,
        conf=config.conf,
        candidate_conf=min(config.conf, default.candidate_conf),
        nms_iou=config.nms_iou,
        max_det=config.max_det,
    )
    is_onnx = config.format in ("onnx", "openvino")
    graph = ExportGraph(
        model.network,
        decode,
        class_nms_node if is_onnx else loop_class_nms,
        float_input=config.input == "float",
        fixed_rows=config.fixed_rows,
        half=config.half and config.format == "onnx",  # OpenVINO halves the weights itself
    )
    r, g, b = model.network.pad_value
    mask_boxes = isinstance(model.network, Solov2)
    info = GraphInfo(
        crispmask=__version__,
        architecture=model.spec.architecture,
        model=model.spec.model,
        names=model.names,
        imgsz=config.size(model.imgsz),
        batch=config.batch,
        dynamic=config.dynamic,
        input=config.input,
        pad_value=(round(r), round(g), round(b)),
        conf=decode.conf,
        nms_iou=decode.nms_iou,
        max_det=decode.max_det,
        fixed_rows=config.fixed_rows,
        half=config.half,
        mask_threshold=graph.threshold,
        mask_stride=4 if mask_boxes else 8,
        mask_boxes=mask_boxes,
    )
    return graph, info


def _write(graph: ExportGraph, info: GraphInfo, config: ExportConfig, path: Path) -> Run:
    """Writes the file and returns how to run it."""
    height, width = info.imgsz
    images = torch.zeros((info.batch, 3, height, width), dtype=torch.uint8)
    if info.input == "float":
        images = images.float()
    if config.format == "onnx":
        write_onnx(graph, images, info, path)
        return OnnxModel(path, "cpu", all_outputs=True).run
    if config.format == "openvino":
        onnx_file = path.with_suffix(".onnx")
        write_onnx(graph, images, info, onnx_file)
        write_openvino(onnx_file, info, path)
        onnx_file.unlink()
        return OpenVinoModel(path, all_outputs=True).run
    program = export_program(graph, images, info)
    if config.format == "torch-export":
        write_program(program, info, path)
        return _torch_run(torch.export.load(path).module())
    write_compiled(program, info, path)
    return _torch_run(torch._inductor.aoti_load_package(str(path)))


def _torch_run(module: Callable[..., Any]) -> Run:
    def run(images: NDArray[Any]) -> Arrays:
        with torch.no_grad():
            outputs = module(torch.from_numpy(images))
        return {name: x.numpy() for name, x in zip(OUTPUTS, outputs, strict=True)}

    return run


def _run_both(
    model: Model, graph: ExportGraph, info: GraphInfo, run: Run, pictures: list[NDArray[np.uint8]]
) -> Iterator[tuple[Instances, Instances]]:
    """Yields what PyTorch and the export find in each image, in input pixels."""
    for start in range(0, len(pictures), info.batch):
        some = [
            prepare(image, info.imgsz, info)[0] for image in pictures[start : start + info.batch]
        ]
        x = np.stack([*some, *[np.zeros_like(some[0])] * (info.batch - len(some))])
        outputs = run(x)
        with torch.inference_mode():
            pixels = torch.from_numpy(x[: len(some)])
            if info.input == "float":
                pixels = pixels * 255
            expected = model.network.decode(model.network(pixels), graph.config)
        for i, instances in enumerate(expected):
            yield instances, _instances(outputs, i, model.names)


def _instances(outputs: Arrays, i: int, names: tuple[str, ...]) -> Instances:
    count = int(outputs["num_detections"][i])
    columns = (outputs[name][i, :count] for name in ("scores", "labels", "boxes", "masks"))
    scores, labels, boxes, masks = columns
    return Instances(scores, labels, boxes, masks.astype(np.bool_), names)


def _pictures(files: Sequence[Path], num: int, info: GraphInfo) -> list[NDArray[np.uint8]]:
    if not files:
        side = min(640, *info.imgsz)
        return [draw_sample(side, 0, "val", i).image for i in range(num)]
    chosen = np.linspace(0, len(files) - 1, min(num, len(files))).round().astype(int)
    return [read_image(files[i]) for i in chosen]


def _target(config: ExportConfig) -> Path:
    if config.out != "auto":
        return Path(config.out)
    suffix = SUFFIXES[config.format]
    return path_beside(
        config.weights, f"_aot{suffix}" if config.format == "aot-inductor" else suffix
    )
