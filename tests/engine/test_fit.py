from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from toy_dataset import write_toy_dataset
from toy_network import ToyNetwork

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine import epochs as epochs_module
from crispmask.engine import fit as fit_module
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.fit import TrainResult, fit
from crispmask.engine.resolve import from_plain
from crispmask.errors import ConfigError, CrispmaskError, DatasetError, WeightsError


@pytest.fixture
def config_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setattr("crispmask.engine.prepare.build_network", lambda spec: ToyNetwork())
    return TrainConfig(
        data=str(write_toy_dataset(tmp_path / "data")),
        epochs=4,
        batch=2,
        imgsz=64,
        lr=0.05,
        work_dir=str(tmp_path / "run"),
        weights="none",
        device="cpu",
        workers=0,
        augment=AugmentConfig(mosaic=0.5, degrees=10.0),
    )


@pytest.fixture
def config(config_with_pictures: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """The same without drawing, which takes longer than training."""
    monkeypatch.setattr("crispmask.engine.prepare.plot_labels", lambda *_, **__: None)
    for name in (
        "plot_results",
        "plot_pr_curve",
        "plot_f1_curve",
        "plot_confusion",
        "instances_sheet",
    ):
        monkeypatch.setattr(f"crispmask.engine.report.{name}", lambda *_, **__: None)
    monkeypatch.setattr("crispmask.engine.fit.write_run_page", lambda *_, **__: None)
    return config_with_pictures


def _fit(config: TrainConfig) -> tuple[TrainResult, str]:
    out = io.StringIO()
    result = fit(config, Console(file=out, width=100))
    return result, out.getvalue()


def _stop_in_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the second step of an epoch be interrupted as Ctrl-C would."""
    original = epochs_module.train_epoch

    def interrupted(run: Any, batches: Any, on_step: Any) -> Any:
        def press(step: Any, batch: Any) -> None:
            on_step(step, batch)
            if run.epoch + 1 == epoch and run.step % 3 == 2:
                raise KeyboardInterrupt

        return original(run, batches, press)

    monkeypatch.setattr(epochs_module, "train_epoch", interrupted)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.slow
def test_leaves_a_run_folder(config_with_pictures: TrainConfig, tmp_path: Path) -> None:
    result, text = _fit(config_with_pictures)
    work_dir = tmp_path / "run"
    assert result.work_dir == work_dir
    for name in (
        "config.yaml",
        "results.csv",
        "weights/best.pt",
        "weights/last.pt",
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "metrics.json",
        "predictions.json",
        "results.png",
        "labels.png",
        "train_batch0.jpg",
        "val_batch0_labels.jpg",
        "val_batch0_pred.jpg",
        "mask_pr_curve.png",
        "mask_f1_curve.png",
        "confusion_matrix.png",
        "report.html",
    ):
        assert (work_dir / name).stat().st_size > 0, name
    assert list(work_dir.glob("events.out.tfevents*"))

    with (work_dir / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert all(row["mask/mAP50-95"] for row in rows)
    assert result.best_map == pytest.approx(max(float(r["mask/mAP50-95"]) for r in rows), abs=1e-5)
    assert json.loads((work_dir / "metrics.json").read_text()) == result.metrics
    assert result.metrics["mask/mAP50-95"] == result.best_map

    assert "random-initialised" in text
    assert "6 to train with 6 instances, 3 to validate with 3" in text
    assert [line.split()[1] for line in text.splitlines() if line.startswith("epoch")] == [
        "1/4",
        "2/4",
        "3/4",
        "4/4",
    ]
    assert str(result.best_path) in text


def assert_is_part(some: dict[str, Any], metrics: dict[str, Any]) -> None:
    """metrics.json has what an epoch measures, and figures of the best model beside it."""
    assert {key: metrics[key] for key in some if key != "per_class"} == {
        key: value for key, value in some.items() if key != "per_class"
    }
    for name, values in some["per_class"].items():
        assert {key: metrics["per_class"][name][key] for key in values} == values
    assert "boundary/mAP50-95" in metrics.keys() - some.keys()


def test_checkpoints_describe_themselves(config: TrainConfig) -> None:
    result, _ = _fit(replace(config, epochs=1))
    best = load_checkpoint(result.best_path)
    assert (best["architecture"], best["model"], best["imgsz"]) == ("solov2", "nano", 64)
    assert (best["num_classes"], best["class_names"], best["epoch"]) == (1, ["square0"], 1)
    assert best["network"]["architecture"] == "solov2"
    assert_is_part(best["metrics"], result.metrics)
    assert best["config"]["epochs"] == 1
    assert "training" not in best
    last = load_checkpoint(result.work_dir / "weights" / "last.pt")
    assert last["training"]["step"] == 3
    assert _same(best["state_dict"], last["state_dict"])
    ToyNetwork().load_state_dict(best["state_dict"])


def test_resumed_run_equals_a_straight_one(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, _ = _fit(config)
    stopped = replace(config, work_dir=str(tmp_path / "stopped"))
    with monkeypatch.context() as patch:
        _stop_in_epoch(3, patch)
        with pytest.raises(KeyboardInterrupt):
            _fit(stopped)
    assert load_checkpoint(tmp_path / "stopped/weights/last.pt")["epoch"] == 2
    torch.rand(5)  # the state of this process must not matter
    resumed, text = _fit(TrainConfig(resume=str(tmp_path / "stopped")))

    assert "continued after epoch 2" in text
    assert resumed.work_dir == tmp_path / "stopped"
    assert resumed.metrics == straight.metrics
    for name in ("last.pt", "best.pt"):
        a = load_checkpoint(straight.work_dir / "weights" / name)
        b = load_checkpoint(resumed.work_dir / "weights" / name)
        a["config"].pop("work_dir"), b["config"].pop("work_dir")
        assert _same(a, b), name
    results = []
    for result in (straight, resumed):
        with (result.work_dir / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        skipped = ("seconds/train", "seconds/data", "seconds/val", "memory_mb")
        results.append([{k: v for k, v in row.items() if k not in skipped} for row in rows])
    assert results[0] == results[1]


def test_interrupted_in_the_first_epoch(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stop_in_epoch(1, monkeypatch)
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        fit(config, Console(file=out, width=100))
    last = tmp_path / "run/weights/last.pt"
    assert load_checkpoint(last)["epoch"] == 0
    assert f"interrupted: {last} holds the state after epoch 0 of 4" in out.getvalue()
    assert f"--resume {tmp_path / 'run'}" in out.getvalue()


def test_a_run_whose_best_lies_before_the_resume(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _stop_in_epoch(3, patch)
        with pytest.raises(KeyboardInterrupt):
            _fit(config)
    path = tmp_path / "run/weights/last.pt"
    content = load_checkpoint(path)
    content["training"]["best_map"] = 2.0  # nothing can beat it
    torch.save(content, path)
    before = load_checkpoint(tmp_path / "run/weights/best.pt")
    resumed, _ = _fit(TrainConfig(resume=str(path)))
    assert_is_part(before["metrics"], resumed.metrics)


def test_a_run_interrupted_in_its_report(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "write_report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _fit(replace(config, epochs=1))
    best = load_checkpoint(tmp_path / "run/weights/best.pt")
    result, _ = _fit(TrainConfig(resume=str(tmp_path / "run")))
    assert_is_part(best["metrics"], result.metrics)
    assert (tmp_path / "run/metrics.json").is_file()


def test_training_stops_when_nothing_gets_better(config: TrainConfig, tmp_path: Path) -> None:
    # The weights hardly move, and an equal score counts as better: make it worse instead.
    result, text = _fit(replace(config, epochs=9, patience=2, lr=1e-9, ema_decay=0.0))
    assert "stopping early" not in text
    maps = iter([0.1, 0.5, 0.4, 0.4, 0.9])
    original = epochs_module.evaluate

    def scripted(*args: Any) -> Any:
        found = original(*args)
        mask = replace(found.metrics.mask, map50_95=next(maps))
        return replace(found, metrics=replace(found.metrics, mask=mask))

    epochs_module.evaluate = scripted
    try:
        result, text = _fit(replace(config, epochs=9, patience=2, work_dir=str(tmp_path / "b")))
    finally:
        epochs_module.evaluate = original
    assert "no better mask mAP50-95 for 2 epochs: stopping early" in text
    assert result.best_map == 0.5
    content = load_checkpoint(result.work_dir / "weights" / "last.pt")
    assert content["epoch"] == 4
    assert content["training"]["best_epoch"] == 2
    assert (result.work_dir / "metrics.json").is_file()


def test_checkpoints_can_be_kept(config: TrainConfig) -> None:
    result, _ = _fit(replace(config, save_period=2))
    kept = sorted(path.name for path in (result.work_dir / "weights").glob("epoch*.pt"))
    assert kept == ["epoch2.pt", "epoch4.pt"]
    content = load_checkpoint(result.work_dir / "weights" / "epoch2.pt")
    assert content["epoch"] == 2
    assert "training" not in content


def test_validation_interval(config: TrainConfig, tmp_path: Path) -> None:
    _fit(replace(config, epochs=3, val_interval=2))
    with (tmp_path / "run/results.csv").open(newline="") as file:
        validated = [bool(row["mask/mAP50-95"]) for row in csv.DictReader(file)]
    assert validated == [False, True, True]


def test_the_saved_config_reproduces_the_run(config: TrainConfig, tmp_path: Path) -> None:
    first, _ = _fit(replace(config, epochs=2))
    again = from_plain(yaml.safe_load((first.work_dir / "config.yaml").read_text()), "x")
    second, _ = _fit(again)
    assert second.work_dir == tmp_path / "run_2"
    a, b = load_checkpoint(first.best_path), load_checkpoint(second.best_path)
    assert _same(a["state_dict"], b["state_dict"])


def test_skip_conversion_reuses_what_still_holds(config: TrainConfig, tmp_path: Path) -> None:
    config = replace(config, epochs=1)
    with pytest.raises(DatasetError, match="no annotation files"):
        _fit(replace(config, skip_conversion=True))
    first, _ = _fit(config)
    second, _ = _fit(replace(config, skip_conversion=True))
    name = "annotations/instances_val.json"
    assert (first.work_dir / name).read_bytes() == (second.work_dir / name).read_bytes()

    label = next((tmp_path / "data/labels/train").iterdir())
    label.write_text(label.read_text() + "0 0.1 0.1 0.2 0.1 0.2 0.2\n")
    with pytest.raises(DatasetError, match=r"the train labels changed .*\(6 instances then, 7 now"):
        _fit(replace(config, skip_conversion=True))
    (tmp_path / "data/images/train/000.png").unlink()
    with pytest.raises(DatasetError, match=r"the train images changed .*\(6 images then, 5 now"):
        _fit(replace(config, skip_conversion=True))
    data = Path(config.data)
    data.write_text(data.read_text().replace("square0", "box"))
    with pytest.raises(DatasetError, match="class names changed"):
        _fit(replace(config, skip_conversion=True))


def test_wrong_flags_fail_before_images_are_read(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(fit_module, "read_data", read)
    with pytest.raises(ConfigError, match="--device"):
        _fit(replace(config, device="nonsense"))
    with pytest.raises(WeightsError, match="no such file"):
        _fit(replace(config, weights="none.pt"))


def test_what_cannot_be_resumed(config: TrainConfig, tmp_path: Path) -> None:
    result, _ = _fit(replace(config, epochs=1))
    for resume, error, word in (
        (result.work_dir, ConfigError, "finished its 1 epochs"),
        (result.best_path, WeightsError, "no training state"),
        (tmp_path, WeightsError, "nothing to resume"),
        (tmp_path / "none.pt", WeightsError, "no such file"),
    ):
        with pytest.raises(error, match=word):
            _fit(TrainConfig(resume=str(resume)))


def _explode(when: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the losses infinite while `when()`; ten batches in a row are too many."""
    loss = ToyNetwork.loss

    def exploding(self: ToyNetwork, outputs: Any, targets: Any) -> Any:
        factor = float("inf") if when() else 1.0
        return {name: value * factor for name, value in loss(self, outputs, targets).items()}

    monkeypatch.setattr(ToyNetwork, "loss", exploding)
    monkeypatch.setattr("crispmask.engine.guard.IN_A_ROW", 2)


def test_training_that_explodes_is_given_up_in_the_end(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _explode(lambda: True, monkeypatch)
    with pytest.raises(ConfigError, match=r"^epoch 1: .* rate of 0\.00625 .* lower --lr"):
        _fit(config)
    saved = sorted(path.name for path in (tmp_path / "run/unusable").iterdir())
    assert saved[:2] == ["epoch1_batch1.jpg", "epoch1_batch1.pt"]
    assert len(saved) == 4  # the same two batches each time
    content = torch.load(tmp_path / "run/unusable/epoch1_batch1.pt", weights_only=True)
    assert content["images"].shape[0] == len(content["counts"]) == 2


def test_a_run_goes_back_and_on_at_half_the_rate(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    # Three batches an epoch: the seventh and eighth call are the first ones of epoch 3.
    _explode(lambda: calls.append(0) or len(calls) in (7, 8), monkeypatch)
    result, text = _fit(config)
    assert (
        "epoch 3: training exploded at a peak rate of 0.05; going back to the end of epoch 2"
        in (text)
    )
    lines = [line for line in text.splitlines() if line.startswith("epoch ") and "lr" in line]
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]
    state = load_checkpoint(result.work_dir / "weights" / "last.pt")["training"]
    assert (state["rate_factor"], state["setbacks"], state["step"]) == (0.5, 1, 12)


def test_a_single_unusable_batch_is_left_out(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    _explode(lambda: calls.append(0) or len(calls) == 5, monkeypatch)
    result, text = _fit(config)
    assert "exploded" not in text
    assert "epoch 2: a batch gave losses or gradients that are not finite" in caplog.text
    content = load_checkpoint(result.work_dir / "weights" / "last.pt")
    assert content["training"]["ema_updates"] == 11


def test_splits_without_instances(config: TrainConfig, tmp_path: Path) -> None:
    for label in (tmp_path / "data/labels/val").iterdir():
        label.unlink()
    result, _ = _fit(replace(config, epochs=1))
    assert result.best_map == -1
    for label in (tmp_path / "data/labels/train").iterdir():
        label.write_text("")
    with pytest.raises(CrispmaskError, match="no training image has an instance"):
        _fit(config)


def test_own_transform_and_every_augmentation(config: TrainConfig) -> None:
    shapes = []

    def note(image: Any, rng: Any) -> Any:
        shapes.append(image.shape)
        return image

    everything = AugmentConfig(mixup=0.5, perspective=5e-4, copy_paste=0.5, shear=5, flipud=0.5)
    config = replace(config, epochs=3, augment=everything, multi_scale=0.5, mosaic_partners="batch")
    result = fit(config, Console(file=io.StringIO()), transform=note)
    assert len(shapes) == 18
    assert set(shapes) == {(64, 64, 3), (96, 96, 3)}
    assert yaml.safe_load((result.work_dir / "config.yaml").read_text())["multi_scale"] == 0.5


def test_a_wrong_transform_is_told(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="must return an image"):
        fit(config, Console(file=io.StringIO()), transform=lambda image, rng: image[:9])


@pytest.mark.slow
@pytest.mark.parametrize("multi_scale", [0.0, 0.5])
@pytest.mark.parametrize(("architecture", "model"), [("solov2", "nano"), ("rtmdet-ins", "tiny")])
def test_real_networks_train(
    architecture: Any, model: Any, multi_scale: float, tmp_path: Path
) -> None:
    config = TrainConfig(
        data=str(write_toy_dataset(tmp_path / "data", num_train=4, num_val=2, classes=2)),
        architecture=architecture,
        model=model,
        epochs=2,
        batch=2,
        imgsz=64,
        work_dir=str(tmp_path / "run"),
        weights="none",
        device="cpu",
        workers=0,
        multi_scale=multi_scale,
    )
    result, _ = _fit(config)
    assert set(result.metrics["per_class"]) == {"square0", "square1"}
    with (tmp_path / "run/results.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert ("train/box" in columns) == (architecture == "rtmdet-ins")
