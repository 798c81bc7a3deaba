"""Pruned graphs, on graphs made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from crispmask.runtime.prune import prune, read_metadata

onnx = pytest.importorskip("onnx", reason="the extra `export` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")


def model() -> bytes:
    """Two outputs of their own beside one that a branch takes a value for from outside."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    value = helper.make_tensor_value_info
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(op, ["doubled", "x"], [f"{name}_out"])],
            name,
            [],
            [value(f"{name}_out", kind, [3])],
        )
        for name, op in (("then", "Add"), ("else", "Mul"))
    }
    nodes = [
        helper.make_node("Add", ["x", "x"], ["doubled"]),
        helper.make_node("Neg", ["x"], ["lost"]),
        helper.make_node("Exp", ["lost"], ["large"]),
        helper.make_node("If", ["flag"], ["chosen"], **branches),
        helper.make_node("Sqrt", ["x"], ["root"]),
    ]
    outputs = [value(name, kind, [3]) for name in ("large", "chosen", "root")]
    inputs = [value("x", kind, [3]), value("flag", onnx.TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    for key, text in (("names", "Größe"), ("empty", "")):
        made.metadata_props.add(key=key, value=text)
    onnx.checker.check_model(made)
    return made.SerializeToString()


def run(content: bytes) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    feed = {"x": np.array([1, 4, 9], dtype=np.float32), "flag": np.array(True)}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@pytest.mark.parametrize(
    ("outputs", "left"),
    [
        (("chosen",), {"doubled", "chosen"}),
        (("root", "chosen"), {"doubled", "chosen", "root"}),
        (("large",), {"lost", "large"}),
        (("large", "chosen", "root"), {"doubled", "lost", "large", "chosen", "root"}),
    ],
)
def test_only_what_is_needed_is_left(outputs: tuple[str, ...], left: set[str]) -> None:
    whole = model()
    pruned = prune(whole, outputs)
    loaded = onnx.load_from_string(pruned)
    onnx.checker.check_model(loaded)
    assert {name for node in loaded.graph.node for name in node.output} == left
    assert {output.name for output in loaded.graph.output} == set(outputs)
    expected = run(whole)
    for name, value in run(pruned).items():
        np.testing.assert_array_equal(value, expected[name])


def test_all_outputs_leave_the_bytes_as_they_are() -> None:
    assert prune(model(), ("large", "chosen", "root")) == model()


def test_metadata() -> None:
    assert read_metadata(model()) == {"names": "Größe", "empty": ""}
    assert read_metadata(prune(model(), ("root",))) == {"names": "Größe", "empty": ""}


@pytest.mark.parametrize("content", [b"no model at all", model()[:-5], b"\xff" * 9])
def test_what_is_no_model(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut|unknown kind"):
        prune(content, ("root",))
