from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import crispmask
from crispmask.bench.config import BenchmarkConfig
from crispmask.bench.run import Row, to_json
from crispmask.cli import main
from crispmask.errors import ConfigError


def test_wrong_settings() -> None:
    for settings, message in (
        ({"imgsz": 100}, "--imgsz must be a multiple of 32"),
        ({"forms": "onnx,tensorrt"}, "--forms: no form 'tensorrt'"),
        ({"rounds": 0}, "--rounds must be at least 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            BenchmarkConfig(weights="a.pt", **settings)


def test_rows_name_their_parts() -> None:
    (row,) = to_json([Row("onnx", parts_ms=(1.0, 2.0, 0.0, 3.0))])
    assert row["parts_ms"] == {"prepare": 1.0, "network": 2.0, "decode": 0.0, "masks": 3.0}
    assert to_json([Row("openvino", note="needs openvino")])[0]["parts_ms"] == {}


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], yolo_dataset) -> None:
    pytest.importorskip("onnxscript", reason="the extra `export` is not installed")
    torch.manual_seed(0)
    model = crispmask.build("rtmdet-ins", "tiny", num_classes=3, imgsz=64)
    model.save(tmp_path / "a.pt")
    data = yolo_dataset(num_train=1, num_val=2, with_background=False)
    words = ["--weights", str(tmp_path / "a.pt"), "--data", str(data), "--rounds", "2"]
    words += ["--forms", "pytorch,onnx", "--json", str(tmp_path / "a.json")]
    assert main(["benchmark", *words]) == 0, capsys.readouterr().err
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [row["form"] for row in rows] == ["pytorch", "onnx"]
    for row in rows:
        assert row["note"] == ""
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["memory_mb"] > 50
        assert abs(sum(row["parts_ms"].values()) - row["median_ms"]) < row["median_ms"]
        assert 0 <= row["mask_map"] <= 1
    assert abs(rows[0]["mask_map"] - rows[1]["mask_map"]) < 0.02
    assert "median ms" in capsys.readouterr().out
