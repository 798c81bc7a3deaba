"""ONNX files made by hand: as small as can be, and there at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from crispmask.runtime.info import GraphInfo

SIZE = (64, 96)
NAMES = ("nut", "große Schraube")
SCORES, LABELS = (0.9, 0.5), (1, 0)
BOXES = ((3.0, 4.0, 50.0, 60.0), (40.0, 0.0, 96.0, 30.0))

INFO = GraphInfo(
    crispmask="1",
    architecture="rtmdet-ins",
    model="tiny",
    names=NAMES,
    imgsz=SIZE,
    batch=1,
    dynamic=False,
    input="uint8",
    pad_value=(114, 114, 114),
    conf=0.25,
    nms_iou=0.6,
    max_det=100,
    fixed_rows=False,
    half=False,
    mask_threshold=0.0,
    mask_stride=8,
    mask_boxes=False,
)
"""What the graph says about itself."""


def write_bright(path: Path) -> None:
    """Finds what is bright and what is dark in any image; as crispmask exports its models."""
    import onnx

    helper, kinds = onnx.helper, onnx.TensorProto
    constants = {
        "num_detections": np.array([2]),
        "scores": np.array([SCORES], dtype=np.float32),
        "labels": np.array([LABELS]),
        "boxes": np.array([BOXES], dtype=np.float32),
        "middle": np.array(127, dtype=np.float32),
        "axes": np.array([1]),
    }
    nodes = [
        *_constants(constants),
        helper.make_node("Cast", ["images"], ["pixels"], to=kinds.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["grey"], keepdims=1),
        helper.make_node("AveragePool", ["grey"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Sub", ["small", "middle"], ["bright"]),
        helper.make_node("Neg", ["bright"], ["dark"]),
        helper.make_node("Concat", ["bright", "dark"], ["soft_masks"], axis=1),
    ]
    value = helper.make_tensor_value_info
    outputs = [
        value("num_detections", kinds.INT64, [1]),
        value("boxes", kinds.FLOAT, [1, 2, 4]),
        value("scores", kinds.FLOAT, [1, 2]),
        value("labels", kinds.INT64, [1, 2]),
        value("soft_masks", kinds.FLOAT, [1, 2, SIZE[0] // 8, SIZE[1] // 8]),
    ]
    _write(path, nodes, value("images", kinds.UINT8, [1, 3, *SIZE]), outputs, INFO.to_metadata())


def write_yolo(path: Path) -> None:
    """Finds a square of class 1 in the middle of any image; as YOLO models are exported."""
    import onnx

    helper, kinds = onnx.helper, onnx.TensorProto
    rows = np.zeros((1, 4 + 2 + 32, 3), dtype=np.float32)
    rows[0, :4, 0] = (32, 32, 24, 24)
    rows[0, 5, 0] = 0.8
    rows[0, 6, 0] = 1
    maps = np.zeros((1, 32, 16, 16), dtype=np.float32)
    maps[0, 0] = 5
    nodes = [
        *_constants({"the_rows": rows, "maps": maps, "nothing": np.array(0, dtype=np.float32)}),
        helper.make_node("ReduceMax", ["images"], ["brightest"], keepdims=0),
        helper.make_node("Mul", ["brightest", "nothing"], ["zero"]),
        helper.make_node("Add", ["the_rows", "zero"], ["rows"]),
    ]
    value = helper.make_tensor_value_info
    outputs = [
        value("rows", kinds.FLOAT, list(rows.shape)),
        value("maps", kinds.FLOAT, list(maps.shape)),
    ]
    names = {"names": "{0: 'a', 1: 'b'}"}
    _write(path, nodes, value("images", kinds.FLOAT, [1, 3, 64, 64]), outputs, names)


def _constants(values: dict[str, np.ndarray]) -> list[Any]:
    import onnx

    return [
        onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))
        for name, value in values.items()
    ]


def _write(
    path: Path, nodes: list[Any], images: Any, outputs: list[Any], metadata: dict[str, str]
) -> None:
    import onnx

    graph = onnx.helper.make_graph(nodes, "g", [images], outputs)
    opset = onnx.helper.make_opsetid("", 18)
    made = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    onnx.helper.set_model_props(made, metadata)
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())
