"""YOLO rows, with a stand-in for the command `yolo` that writes what the real one writes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crispmask.compare.config import CompareConfig, rows_of
from crispmask.compare.jobs import JobError
from crispmask.compare.yolo import (
    _epoch_line,
    copy_dataset,
    predict_job,
    read_prediction_log,
    read_training,
    yolo_job,
    yolo_settings,
)
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.data.index import DatasetIndex
from crispmask.data.scan import build_index
from crispmask.data.scenes import write_sample_dataset as write_sample
from crispmask.data.spec import DatasetSpec, read_spec
from crispmask.geometry.raster import rasterise


def config(**settings: object) -> CompareConfig:
    return CompareConfig(data="d.yaml", models="yolo11n-seg", **settings)  # type: ignore[arg-type]  # mixed


def test_the_copy_has_the_same_masks_and_our_ids(tmp_path: Path) -> None:
    spec = read_spec(write_sample(tmp_path / "sample", num_images=10, imgsz=96))
    splits = {
        "train": build_index(spec.train, len(spec.names), workers=0),
        "val": build_index(spec.val, len(spec.names), workers=0),
    }
    before = {path: path.read_bytes() for path in (tmp_path / "sample").rglob("*.*")}
    file = copy_dataset(spec, splits, tmp_path / "copy")
    assert copy_dataset(spec, splits, tmp_path / "copy") == file  # kept, not written again
    copied = read_spec(file)
    assert copied.names == spec.names
    for split, paths in (("train", copied.train), ("val", copied.val)):
        index = build_index(paths, len(copied.names), workers=0)
        assert [int(path.stem) for path in paths] == list(range(1, len(paths) + 1))
        for i in range(len(index)):
            size = index.size(i)
            polygons, labels = splits[split].annotation(i, size)
            again, labels_again = index.annotation(i, size)
            np.testing.assert_array_equal(labels, labels_again)
            np.testing.assert_array_equal(rasterise(polygons, size), rasterise(again, size))
            assert index.path(i).read_bytes() == splits[split].path(i).read_bytes()
    assert {path: path.read_bytes() for path in (tmp_path / "sample").rglob("*.*")} == before


def test_a_copy_of_another_dataset_is_told(tmp_path: Path) -> None:
    def read(name: str, seed: int) -> tuple[DatasetSpec, dict[str, DatasetIndex]]:
        spec = read_spec(write_sample(tmp_path / name, num_images=3, imgsz=64, seed=seed))
        paths = {"train": spec.train, "val": spec.val}
        return spec, {k: build_index(p, len(spec.names), workers=0) for k, p in paths.items()}

    one, other = read("a", 0), read("b", 1)
    copy = tmp_path / "copy"
    file = copy_dataset(*one, copy)
    row = rows_of("yolo11n-seg")[0]
    key = yolo_job(config(), row, file, {}, 0, tmp_path / "seed0").request["dataset"]
    for is_whole in (True, False):
        with pytest.raises(JobError, match=r"copy holds a copy of another dataset \(the train"):
            copy_dataset(*other, copy)
        if is_whole:
            file.unlink()  # as if interrupted
    shutil.rmtree(copy)
    copy_dataset(*other, copy)
    for job in (
        yolo_job(config(), row, file, {}, 0, tmp_path / "seed0"),
        predict_job(config(), row, file, 0, tmp_path / "seed0"),
    ):
        assert job.request["dataset"] != key
    (copy / "fingerprint.json").unlink()
    with pytest.raises(JobError, match="it does not say of which"):
        copy_dataset(*other, copy)


def test_matched_settings() -> None:
    train = TrainConfig(data="d", epochs=150, augment=AugmentConfig(mosaic=0.5))
    found = yolo_settings(config(), train, num_classes=3, model="yolo11n-seg", seed=2)
    assert found["model"] == "yolo11n-seg.pt"
    assert found["optimizer"] == "SGD"
    assert found["lr0"] == pytest.approx(0.001429, abs=1e-6)  # 0.002 * 5 / (4 + 3)
    assert found["lrf"] == 0.017
    assert found["cos_lr"] is True
    assert (found["warmup_epochs"], found["momentum"], found["weight_decay"]) == (7, 0.937, 0.0005)
    assert found["nbs"] == found["batch"] == 10  # an update for every batch, as with us
    assert (found["mosaic"], found["degrees"], found["scale"]) == (0.5, 2.0, 0.5)
    assert (found["close_mosaic"], found["seed"]) == (10, 2)


def test_the_weight_decay_is_that_of_the_optimizer() -> None:
    train = TrainConfig(data="d", optimizer="adamw")
    found = yolo_settings(config(), train, 3, "yolo11n-seg", 0)
    assert (found["optimizer"], found["weight_decay"]) == ("AdamW", 0.05)
    given = TrainConfig(data="d", optimizer="adamw", weight_decay=0.01)
    assert yolo_settings(config(), given, 3, "yolo11n-seg", 0)["weight_decay"] == 0.01


def test_other_recipes_leave_its_defaults() -> None:
    train = TrainConfig(data="d", epochs=4)
    found = yolo_settings(
        config(recipe="ultralytics", weights="none", device="cuda:1"), train, 3, "yolo11n-seg", 0
    )
    assert found["model"] == "yolo11n-seg.yaml"
    assert found["device"] == "1"
    assert not {"lr0", "mosaic", "optimizer"} & set(found)


def test_a_short_run_keeps_an_epoch_after_the_warmup() -> None:
    found = yolo_settings(config(epochs=3), TrainConfig(data="d", epochs=3), 3, "yolo11n-seg", 0)
    assert found["warmup_epochs"] == 2
    assert found["close_mosaic"] == 0


def test_the_job_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    row = rows_of("yolo11n-seg")[0]
    (tmp_path / "fingerprint.json").write_text("{}")
    job = yolo_job(config(), row, tmp_path / "data.yaml", {"epochs": 2}, 0, tmp_path / "seed0")
    assert job.start[:3] == ["yolo", "segment", "train"]
    assert "epochs=2" in job.start
    assert job.go_on() is None
    last = tmp_path / "seed0/run/weights/last.pt"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"")
    assert job.go_on() == ["yolo", "segment", "train", "resume=True", f"model={last.resolve()}"]
    assert job.environment is not None
    assert Path(job.environment["YOLO_CONFIG_DIR"]).is_dir()


def test_its_lines() -> None:
    bar = "1/2  0G  5.621  9.674  4.216  4.258  0  48  160: 100% ━━━━━━━━━━━━ 15/15 2.6s/it 39.6s"
    assert _epoch_line(bar) == "epoch 1/2  losses 5.621  9.674  4.216  4.258"
    assert _epoch_line(bar.replace("100%", "93%")) is None
    assert _epoch_line("all  32  115  0.5  0.5") is None


def test_its_results(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.csv").write_text(
        "epoch,time,  metrics/mAP50-95(B),metrics/mAP50-95(M)\n"
        "1,10.0,0.1,0.1\n2,20.0,0.5,0.2\n3,30.0,0.2,0.3\n"
    )
    (tmp_path / "log.txt").write_text("  1/3  2.41G  1.0\n  2/3  3.1G  0.9\n")
    found = read_training(tmp_path)
    assert found.best_epoch == 2  # by the sum of boxes and masks, as it chooses
    assert found.epoch_seconds == 10.0
    assert found.curve == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert found.gpu_memory_mb == 3100.0


def test_what_it_prints_of_its_model(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(
        "YOLO11n-seg summary (fused): 113 layers, 2,835,348 parameters, 0 gradients, 9.6 GFLOPs\n"
        "Speed: 1.9ms preprocess, 86.6ms inference, 0.0ms loss, 2.7ms postprocess per image\n"
    )
    found = read_prediction_log(log)
    assert found == pytest.approx({"parameters": 2.835348, "gflops": 9.6, "latency_ms": 91.2})
    log.write_text("nothing of the kind")
    assert read_prediction_log(log) == {}
