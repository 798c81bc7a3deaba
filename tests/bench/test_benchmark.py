from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_graphs import write_bright, write_yolo

import crispmask
from crispmask.bench.config import BenchmarkConfig
from crispmask.bench.run import Row, _add_map, _setup, _time, last_error, to_json
from crispmask.cli import main
from crispmask.data.spec import read_spec
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


def test_the_error_is_named_not_the_advice_below_it() -> None:
    text = "Traceback\n  File 1\ntorch._inductor.exc.InductorError: no compiler\n\nSet VERBOSE=1\n"
    assert last_error(text) == "torch._inductor.exc.InductorError: no compiler"
    assert last_error("killed\n") == "killed"
    assert last_error("") == "it ended without a word"


def test_graphs_take_turns(tmp_path: Path, yolo_dataset) -> None:
    """Processes of their own, the same images, one evaluator; one that cannot start is told."""
    pytest.importorskip("onnx", reason="the extra `export` is not installed")
    pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")
    write_bright(tmp_path / "bright.onnx")
    write_yolo(tmp_path / "yolo.onnx")
    data = yolo_dataset(num_train=1, num_val=2, size=(48, 64), with_background=False)
    images = [str(path) for path in read_spec(str(data)).val]
    setups = [
        _setup("bright", "onnx", tmp_path / "bright.onnx", 64, 0.25, 1),
        _setup("missing", "onnx", tmp_path / "missing.onnx", 64, 0.25, 1),
        _setup("yolo", "yolo", tmp_path / "yolo.onnx", 64, 0.25, 1),
    ]
    told: list[str] = []
    rows = _time(setups, images, 2, told.append)
    assert told == ["turn 1 of 2", "turn 2 of 2"]
    assert "missing.onnx: no such file" in rows["missing"].note
    for name, instances in (("bright", 2), ("yolo", 1)):
        row = rows[name]
        assert row.note == ""
        assert row.instances == instances
        assert 0 < row.median_ms <= row.p95_ms
        assert row.memory_mb > 20
        assert len(row.parts_ms) == 4
    _add_map(rows, setups, str(data), told.append)
    assert told[2:] == ["mAP of bright", "mAP of yolo"]
    assert rows["missing"].mask_map is None
    for name in ("bright", "yolo"):
        mask_map = rows[name].mask_map
        assert mask_map is not None
        assert 0 <= mask_map <= 1


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


def test_the_table_comes_before_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crispmask.bench.run.benchmark", lambda *_: [Row("onnx", median_ms=1.5)])
    words = ["benchmark", "--weights", "a.pt", "--imgsz", "32", "--images", "1", "--json"]
    assert main([*words, "results/a.json"]) == 0
    assert json.loads(Path("results/a.json").read_text())[0]["median_ms"] == 1.5
    assert "onnx" in capsys.readouterr().out

    monkeypatch.setattr("crispmask.bench.run.benchmark", lambda *_: pytest.fail("measured"))
    assert main([*words, "results/a.json/b.json"]) == 2
    assert "results/a.json" in capsys.readouterr().err
