"""metrics.json of a real validation against pycocotools on the files it names."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from coco_datasets import write_coco_dataset, write_json
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pycocotools.mask import encode

from crispmask.cli import main
from crispmask.data.scan import build_index
from crispmask.data.scenes import write_sample_dataset
from crispmask.data.spec import read_spec
from crispmask.geometry.raster import rasterise

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


def compare(data: Path, folder: Path, *words: str) -> dict[str, float]:
    """Validates, converts, and compares every number; returns those of metrics.json.

    Args:
        data: a data.yaml.
        folder: for the results.
        words: of the validation.
    """
    words = (f"data={data}", f"out={folder / 'val'}", "workers=0", *words)
    assert main(["val", *words]) == 0
    assert main(["convert", f"data={data}", f"out={folder / 'coco'}"]) == 0
    measured = json.loads((folder / "val/metrics.json").read_text())
    for name, values in measured.pop("per_class").items():
        measured |= {f"{name}/{key}": value for key, value in values.items()}
    truth = folder / "coco/annotations/instances_val.json"
    expected = of_pycocotools(truth, folder / "val/predictions.json")
    measured = {key: measured[key] for key in expected}
    assert measured == pytest.approx(expected, abs=1e-6)
    return measured


def invented(data: Path, file: Path) -> str:
    """Predictions that are right, shifted, of another class, twice, or of nothing at all."""
    rng = np.random.default_rng(0)
    spec = read_spec(data)
    index = build_index(spec.val, len(spec.names))
    rows = []
    for i in range(len(index)):
        height, width = size = index.size(i)
        polygons, labels = index.annotation(i, size)
        masks = [*rasterise(polygons, size)] * 2
        left = np.zeros(size, dtype=bool)
        left[height // 4 : height // 2, width // 20 : width // 4] = True
        for mask, label in zip([*masks, left, ~left], [*labels, *labels, 0, 0], strict=True):
            shift = rng.integers(-2, 3, 2) * rng.integers(0, 3) * max(1, height // 100)
            mask = np.roll(mask, tuple(shift), axis=(0, 1))
            (y1, x1), (y2, x2) = (f(np.argwhere(mask), axis=0) for f in (np.min, np.max))
            rle = encode(np.asfortranarray(mask.astype(np.uint8)))
            rows.append(
                {
                    "image_id": i + 1,
                    "category_id": int(label if rng.random() < 0.9 else 0) + 1,
                    "score": round(float(rng.random()), 3),
                    "segmentation": {**rle, "counts": rle["counts"].decode()},
                    "bbox": [float(v) for v in (x1, y1, x2 + 1 - x1, y2 + 1 - y1)],
                }
            )
    write_json(file, rows)
    return f"predictions={file}"


def test_holes_parts_and_crowds(tmp_path: Path) -> None:
    sample = write_sample_dataset(tmp_path / "sample", num_images=12, imgsz=128, seed=0)
    data = write_coco_dataset(sample, tmp_path / "coco", ids=(3, 5, 8, 90), crowds=True)
    found = invented(sample, tmp_path / "found.json")
    plain = compare(sample, tmp_path / "a", found)
    crowded = compare(data, tmp_path / "b", found)
    assert 0.2 < plain["mask/mAP50-95"] < 0.9
    assert crowded["mask/mAP50-95"] > plain["mask/mAP50-95"]  # what lies in a crowd is no mistake


@pytest.mark.real
@pytest.mark.skipif(
    "CRISPMASK_DATA" not in os.environ, reason="CRISPMASK_DATA names no folder of datasets"
)
@pytest.mark.parametrize("name", ["nuts", "facade3"])
def test_real_datasets(name: str, tmp_path: Path) -> None:
    data = Path(os.environ["CRISPMASK_DATA"]) / name / "data.yaml"
    measured = compare(data, tmp_path, invented(data, tmp_path / "found.json"))
    assert 0.2 < measured["mask/mAP50-95"] < 0.9


@pytest.mark.slow
def test_a_network_on_coco_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = write_sample_dataset(tmp_path / "sample", num_images=8, imgsz=96, seed=0)
    data = write_coco_dataset(sample, tmp_path / "data", ids=(3, 5, 8, 90), crowds=True)
    words = ["architecture=rtmdet-ins", "model=tiny", "weights=none", "workers=0", "device=cpu"]
    words += ["imgsz=96", "batch=4", "epochs=1", f"work_dir={tmp_path / 'run'}"]
    assert main(["train", f"data={data}", *words]) == 0
    assert "category ids 3, 5, 8, 90 are classes 0, 1, 2, 3" in capsys.readouterr().out
    measured = compare(data, tmp_path, f"weights={tmp_path / 'run/weights/best.pt'}", "device=cpu")
    of_the_run = json.loads((tmp_path / "run/metrics.json").read_text())
    for key in STATS:
        assert of_the_run[f"mask/{key}"] == pytest.approx(measured[f"mask/{key}"], abs=1e-6)
    truth = json.loads((tmp_path / "run/annotations/instances_val.json").read_text())
    assert truth == json.loads((tmp_path / "coco/annotations/instances_val.json").read_text())
