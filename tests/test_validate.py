"""What `validate` asks of a model before it measures."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_graphs import INFO

from crispmask.errors import ConfigError, DatasetError
from crispmask.runtime.info import GraphInfo
from crispmask.runtime.model import GraphModel
from crispmask.validate import validate, validate_predictions


class Nothing(GraphModel):
    """A graph that finds nothing, and notes the inputs it got."""

    def __init__(self, info: GraphInfo) -> None:
        super().__init__(Path("nothing.onnx"), info)
        self.shapes: list[tuple[int, ...]] = []

    def run(self, images: NDArray[Any], outputs: object = None) -> dict[str, NDArray[Any]]:
        self.shapes.append(images.shape)
        return {
            "num_detections": np.zeros(len(images), dtype=np.int64),
            "scores": np.zeros((len(images), 0), dtype=np.float32),
            "labels": np.zeros((len(images), 0), dtype=np.int64),
            "boxes": np.zeros((len(images), 0, 4), dtype=np.float32),
            "soft_masks": np.zeros((len(images), 0, 8, 12), dtype=np.float32),
        }


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Nothing:
    """What `validate` loads, whatever the path."""
    graph = Nothing(replace(INFO, names=("shape_0", "shape_1"), imgsz=(64, 96)))
    monkeypatch.setattr("crispmask.validate.load", lambda *_: graph)
    return graph


@pytest.fixture
def data(yolo_dataset: Callable[..., Path]) -> Path:
    return yolo_dataset(num_train=1, num_val=2, classes=2)


def test_a_graph_of_two_sides_is_measured(graph: Nothing, data: Path) -> None:
    metrics = validate("a.onnx", data, workers=0)
    assert metrics.mask.map50 == 0
    assert graph.shapes == [(1, 3, 64, 96)] * 2
    with pytest.raises(ConfigError, match="its input is 64 x 96"):
        validate("a.onnx", data, imgsz=96, workers=0)


def test_names_in_another_order_are_an_error(graph: Nothing, data: Path) -> None:
    graph.info = replace(graph.info, names=("shape_1", "shape_0"))
    message = "class 0 is shape_0, but shape_1 in a.onnx; order the names as shape_1, shape_0"
    with pytest.raises(DatasetError, match=message):
        validate("a.onnx", data, workers=0)


def test_other_names_are_warned_of(
    graph: Nothing, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    validate("a.onnx", data, workers=0)
    assert not [r for r in caplog.records if "names" in r.getMessage()]
    graph.info = replace(graph.info, names=("shape_0", "Shape_1"))
    validate("a.onnx", data, workers=0)
    (warning,) = [r for r in caplog.records if "names" in r.getMessage()]
    assert warning.levelno == logging.WARNING
    assert "class 1 is shape_1, but Shape_1 in a.onnx (1 of 2 names differ)" in warning.getMessage()


def test_the_report_says_how_to_do_it_again(
    graph: Nothing, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "crispmask.validate.write_val_page",
        lambda folder, evaluation, index, title, settings, facts: pages.append(settings),
    )
    text = data.read_text()
    data.write_text("".join(x for x in text.splitlines(True) if not x.startswith("val")))
    for name in ("b.jpg", "c.jpg"):
        shutil.copyfile(data.parent / "images/train/000.jpg", data.parent / "images/train" / name)
    validate("a.onnx", data, out=tmp_path / "a", val_fraction=0.4, workers=0)
    found = tmp_path / "a/predictions.json"
    validate_predictions(found, data, out=tmp_path / "b", val_fraction=0.4, workers=0)
    validate_predictions(found, data, 320, "train", tmp_path / "c", workers=0)
    assert [page["val_fraction"] for page in pages] == [0.4, 0.4, None]
    assert [page["imgsz"] for page in pages] == [None, 640, 320]
