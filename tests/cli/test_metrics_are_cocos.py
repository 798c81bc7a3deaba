"""metrics.json of a real validation against pycocotools on the files it names."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from coco_datasets import write_coco_dataset
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from crispmask.cli import main
from crispmask.data.scenes import write_sample_dataset

TRAIN = ["architecture=rtmdet-ins", "model=tiny", "weights=none", "workers=0", "device=cpu"]
TRAIN += ["optimizer=adamw", "lr=0.003", "ema_tau=5", "warmup_epochs=1", "mosaic=0"]
TRAIN += ["scale=0", "translate=0", "degrees=0", "val_interval=100"]
STATS = {"mAP50-95": 0, "mAP50": 1, "mAP75": 2, "mAP_small": 3, "mAP_medium": 4, "mAP_large": 5}
STATS |= {"AR1": 6, "AR10": 7, "AR100": 8, "AR_small": 9, "AR_medium": 10, "AR_large": 11}


def of_pycocotools(truth_file: Path, predictions_file: Path) -> dict[str, float]:
    """The keys of metrics.json, those of classes as name/key."""
    found = {}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_file))
        for kind, prefix in (("segm", "mask"), ("bbox", "box")):
            evaluation = COCOeval(truth, truth.loadRes(str(predictions_file)), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            stats = evaluation.stats.tolist()
            found |= {f"{prefix}/{key}": stats[place] for key, place in STATS.items()}
            precision = evaluation.eval["precision"][..., 0, -1]  # (T, R, K)
            for k, category in enumerate(evaluation.params.catIds):
                for key, levels in (("mAP50-95", slice(None)), ("mAP50", slice(1))):
                    values = precision[levels, :, k]
                    values = values[values > -1]
                    name = f"{truth.cats[category]['name']}/{prefix}/{key}"
                    found[name] = float(np.mean(values)) if len(values) else -1.0
    return found


def compare(data: Path, weights: str, folder: Path) -> dict[str, float]:
    """Validates, converts, and compares every number; returns those of metrics.json."""
    words = [f"data={data}", f"out={folder / 'val'}", "workers=0", "device=cpu"]
    assert main(["val", f"weights={weights}", *words]) == 0
    assert main(["convert", f"data={data}", f"out={folder / 'coco'}"]) == 0
    measured = json.loads((folder / "val/metrics.json").read_text())
    for name, values in measured.pop("per_class").items():
        measured |= {f"{name}/{key}": value for key, value in values.items()}
    truth = folder / "coco/annotations/instances_val.json"
    expected = of_pycocotools(truth, folder / "val/predictions.json")
    measured = {key: measured[key] for key in expected}
    assert measured == pytest.approx(expected, abs=1e-6)
    return measured


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Images of 128 pixels with holes and parts, a model that finds some of them beside it."""
    return write_sample_dataset(tmp_path / "sample", num_images=16, imgsz=128, seed=0)


@pytest.mark.slow
def test_holes_parts_and_crowds(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_coco_dataset(sample, tmp_path / "coco", ids=(3, 5, 8, 90), crowds=True)
    words = [*TRAIN, "imgsz=128", "batch=4", "epochs=12", f"work_dir={tmp_path / 'run'}"]
    assert main(["train", f"data={data}", *words]) == 0
    out = capsys.readouterr().out
    assert "category ids 3, 5, 8, 90 are classes 0, 1, 2, 3" in out
    assert main(["check", f"data={data}"]) == 0
    best = str(tmp_path / "run/weights/best.pt")
    plain = compare(sample, best, tmp_path / "a")
    crowded = compare(data, best, tmp_path / "b")
    assert plain["mask/mAP50"] > 0.01
    assert crowded["mask/mAP50"] > 0.01
    assert crowded != plain  # the crowds count
    of_the_run = json.loads((tmp_path / "run/metrics.json").read_text())
    for key in ("mask/mAP50-95", "box/mAP50"):
        assert of_the_run[key] == pytest.approx(crowded[key], abs=1e-6)


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.skipif(
    "CRISPMASK_DATA" not in os.environ, reason="CRISPMASK_DATA names no folder of datasets"
)
@pytest.mark.parametrize(("name", "epochs"), [("nuts", 25), ("facade3", 2)])
def test_real_datasets(name: str, epochs: int, tmp_path: Path) -> None:
    data = Path(os.environ["CRISPMASK_DATA"]) / name / "data.yaml"
    words = [*TRAIN, "imgsz=160", "batch=4", f"epochs={epochs}", f"work_dir={tmp_path / 'run'}"]
    assert main(["train", f"data={data}", *words]) == 0
    found = compare(data, str(tmp_path / "run/weights/best.pt"), tmp_path)
    assert found["mask/mAP50"] > 0
