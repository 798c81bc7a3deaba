"""The commands of the README one after the other, on a few small generated images."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import crispmask
from crispmask.cli import main

ROOT = Path(__file__).parents[2]
TRAIN = ["weights=none", "imgsz=128", "batch=4", "workers=0", "device=cpu", "warmup_epochs=1"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["sample", "--out", "data", "--images", "16", "--imgsz", "128"]) == 0
    return tmp_path / "data" / "data.yaml"


def flat(content: Any, name: str = "") -> dict[str, float | str]:
    """The leaves of what a JSON file holds, by their way through it."""
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list):
        items = enumerate(content)
    else:
        return {name: content}
    return {k: v for key, value in items for k, v in flat(value, f"{name}/{key}").items()}


def pycocotools_map(truth_file: str, predictions_file: str, kind: str) -> float:
    truth = COCO(truth_file)
    evaluation = COCOeval(truth, truth.loadRes(predictions_file), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["rtmdet-ins", "solov2"])
def test_from_data_to_metrics(architecture: str, data: Path) -> None:
    train = ["train", f"data={data}", f"architecture={architecture}", "model=tiny", *TRAIN]
    # A fast average of the weights, so that something is found after four epochs.
    assert (
        main([*train, "epochs=4", "optimizer=adamw", "lr=0.003", "ema_tau=5", "work_dir=run"]) == 0
    )
    best = "run/weights/best.pt"

    assert main(["val", f"weights={best}", f"data={data}", "out=val", "workers=0"]) == 0
    assert Path("run/report.html").is_file()
    assert Path("val/report.html").is_file()
    measured = json.loads(Path("val/metrics.json").read_text())
    of_the_run = json.loads(Path("run/metrics.json").read_text())
    assert flat(measured) == pytest.approx(flat(of_the_run), abs=1e-6)

    assert main(["convert", f"data={data}", "out=coco"]) == 0
    for kind, key in (("segm", "mask/mAP50-95"), ("bbox", "box/mAP50-95")):
        theirs = pycocotools_map(
            "coco/annotations/instances_val.json", "val/predictions.json", kind
        )
        assert measured[key] == pytest.approx(theirs, abs=1e-6)

    source = f"source={data.parent / 'images' / 'val'}"
    assert main(["predict", f"weights={best}", source, "conf=0", "max_det=5", "save_txt=1"]) == 0
    assert len(list(Path("runs/predict").glob("*.jpg"))) == 4

    model = crispmask.load(best)
    assert model.names == ("leaf", "ring", "stone", "card")
    assert model.imgsz == 128


def _take_interrupts() -> None:
    """What a shell starts in the background ignores them, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_continue_from(data: Path) -> None:
    words = ["train", f"data={data}", "architecture=rtmdet-ins", *TRAIN, "work_dir=run"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words[1:], "epochs=1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_take_interrupts,
    )
    deadline = time.monotonic() + 240
    results = Path("run/results.csv")
    while not results.is_file() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    assert "--resume run" in out
    crispmask.load("run/weights/last.pt")
