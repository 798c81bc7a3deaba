"""A comparison as a user runs it, with a stand-in for the command `yolo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from crispmask.cli import main
from crispmask.data.scenes import write_sample_dataset as write_sample

YOLO = '''#!{python}
"""Writes what the command yolo of ultralytics 8.4 writes, and finds one box in each image."""
import json, pathlib, sys
words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
assert sys.argv[1] == "segment"
place = pathlib.Path(words["project"]) / words["name"]
place.mkdir(parents=True, exist_ok=True)
data = pathlib.Path(words["data"])
if sys.argv[2] == "train":
    (place / "weights").mkdir()
    (place / "weights/best.pt").write_bytes(b"")
    rows = ["epoch,time,metrics/mAP50-95(B),metrics/mAP50-95(M)"]
    rows += [f"{{i}},{{i}}.5,0.{{i}},0.{{i}}" for i in range(1, int(words["epochs"]) + 1)]
    (place / "results.csv").write_text("\\n".join(rows) + "\\n")
else:
    found = []
    for image in sorted((data.parent / "images/val").iterdir()):
        found.append(dict(image_id=int(image.stem), file_name=image.name, category_id=1,
            score=0.9, bbox=[4.0, 4.0, 20.0, 20.0],
            segmentation=[[4.0, 4.0, 24.0, 4.0, 24.0, 24.0, 4.0, 24.0]]))
    (place / "predictions.json").write_text(json.dumps(found))
    print("YOLO11n-seg summary (fused): 1 layers, 2,800,000 parameters, 0 gradients, 9.6 GFLOPs")
    print("Speed: 1.0ms preprocess, 2.0ms inference, 0.0ms loss, 3.0ms postprocess per image")
'''


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    path = tmp_path / "yolo"
    path.write_text(YOLO.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.mark.slow
def test_three_models_and_a_file(
    tmp_path: Path, yolo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_sample(tmp_path / "sample", num_images=10, imgsz=64)
    out = tmp_path / "out"
    words = [
        *("compare", "--data", str(data), "--epochs", "1", "--imgsz", "64", "--batch", "4"),
        *("--workers", "0", "--weights", "none", "--yolo", str(yolo), "--out", str(out)),
    ]
    assert main([*words, "--models", "rtmdet-ins-tiny,yolo11n-seg"]) == 0
    text = capsys.readouterr().out
    assert "rtmdet-ins-tiny, seed 0: started" in text
    assert "  epoch 1/1" in text
    best = out / "rtmdet-ins-tiny/seed0/run/weights/best.pt"
    changed = best.stat().st_mtime_ns

    # Again with one more row: what is finished is read, not trained again.
    found = out / "yolo11n-seg/seed0/predictions.json"
    assert main([*words, "--models", f"rtmdet-ins-tiny,yolo11n-seg,again={found}"]) == 0
    text = capsys.readouterr().out
    assert text.count("finished earlier") == 3  # two trainings and the predictions of one
    assert best.stat().st_mtime_ns == changed
    scores = {row["model"]: row["score"] for row in json.loads((out / "compare.json").read_text())}
    assert scores["again"]["mask/mAP50-95"] == scores["yolo11n-seg"]["mask/mAP50-95"]
    assert scores["yolo11n-seg"]["parameters"] == pytest.approx(2.8)
    assert scores["yolo11n-seg"]["latency_ms"] == pytest.approx(6.0)
    assert scores["rtmdet-ins-tiny"]["parameters"] == pytest.approx(5.6, abs=0.1)
    for score in scores.values():
        assert -1 <= score["boundary/mAP50-95"] <= 1
    assert (out / "compare.html").stat().st_size > 10_000


def test_a_command_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "--data", "d.yaml", "--models", "yolo11n-seg", "--yolo", "no-such-yolo"]
    assert main(words) == 2
    assert "pip install 'crispmask[yolo]'" in capsys.readouterr().err


def test_a_wrong_flag_for_the_trainings(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "--data", "d.yaml", "--models", "solov2-nano", "--train", "mosaik=0"]
    assert main(words) == 2
    assert "unknown flag mosaik; did you mean --mosaic?" in capsys.readouterr().err


def test_a_missing_dataset_is_told_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--data", "none.yaml", "--models", "solov2-nano"]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_images_set_aside_are_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_sample(tmp_path / "sample", num_images=8, imgsz=64)
    lines = data.read_text().splitlines()
    data.write_text("\n".join(line for line in lines if not line.startswith("val")) + "\n")
    found = tmp_path / "found.json"
    square = [[4.0, 4.0, 24.0, 4.0, 24.0, 24.0, 4.0, 24.0]]
    found.write_text(
        json.dumps([{"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": square}])
    )
    words = ["compare", f"data={data}", f"models=x={found}", f"out={tmp_path / 'out'}"]
    assert main(words) == 2
    assert "--val-fraction" in capsys.readouterr().err
    assert main([*words, "val_fraction=0.5", "pictures=1"]) == 0
    assert "3 of 6 training images are set aside" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/x/score.json").read_text())["request"]["val_fraction"] == 0.5
