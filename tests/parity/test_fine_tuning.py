"""Training from a COCO checkpoint of MMDetection on a dataset with other classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CASES, DATA
from reference_weights import load_keys, make_checkpoint
from test_checkpoint_keys import LAYOUTS

import crispmask
from crispmask.api import train_config
from crispmask.cli import main
from crispmask.engine import epochs
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.resolve import resolve
from crispmask.engine.workdir import WorkDir
from crispmask.errors import WeightsError
from crispmask.models.mmdet import convert_state
from crispmask.models.table import canonical_model
from crispmask.models.weights import model_of

pytestmark = pytest.mark.parity


def write_zeros(name: str, path: Path) -> str:
    """A file of an official layout, small whatever its size: each tensor is one stored number."""
    keys = load_keys(DATA / "keys" / f"{name}.json")
    torch.save({"state_dict": {k: torch.zeros(()).expand(s) for k, (s, _) in keys.items()}}, path)
    return str(path)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if not name.startswith("proj_")])
def test_the_file_says_which_model_is_trained(name: str, tmp_path: Path) -> None:
    architecture, model = LAYOUTS[name]
    model = canonical_model(architecture, model)
    config = train_config(weights=write_zeros(name, tmp_path / "coco.pth"), device="cpu")
    assert (config.architecture, config.model) == (architecture, model)
    settings = resolve(config, WorkDir(tmp_path), tmp_path / "data.yaml", 3, 100)
    assert settings.config.model == model
    batches = {"small": 8, "medium": 6, "r50": 4, "large": 4, "r101": 2, "x": 2, "tiny": 10}
    assert settings.batch == batches.get(model, 8)
    named = train_config(architecture=architecture, model=LAYOUTS[name][1], device="cpu")
    again = resolve(named, WorkDir(tmp_path), tmp_path / "data.yaml", 3, 100)
    assert replace(again.config, weights=config.weights) == settings.config


def test_what_is_said_stays_and_has_to_fit(tmp_path: Path) -> None:
    path = write_zeros("solov2_light_r18", tmp_path / "coco.pth")
    assert model_of(path, {"model": "light-r18"}) == {"architecture": "solov2"}
    assert model_of(path, {"architecture": "solov2"}) == {"model": "light-r18"}
    assert model_of(path, {"architecture": "rtmdet-ins"}) == {}  # which `apply_weights` refuses
    assert model_of("coco", {}) == model_of("imagenet", {}) == model_of("none", {}) == {}
    with pytest.raises(WeightsError, match=r"coco\.pth: weights of solov2, which has no model x;"):
        model_of(path, {"model": "x"})


@pytest.mark.slow
def test_as_a_user_would(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    make_checkpoint(DATA / "keys" / "rtmdet-ins_tiny.json", "coco.pth", ema=True)
    assert main(["sample", "--out", "data", "--images", "6", "--imgsz", "64"]) == 0
    flags = "--data data/data.yaml --weights coco.pth"  # which says that it is rtmdet-ins tiny
    flags += " --imgsz 64 --batch 2 --epochs 1 --workers 0 --device cpu --work-dir run"
    flags += " --lr 1e-6 --ema-decay 0"  # so little that what was loaded can still be told
    assert main(["train", *flags.split()]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "6 tensors of the class predictions start at random" in said
    assert "the file has 80 classes instead of 4" in said
    assert "left out: meta" in said

    (case,) = [case for case in CASES if case.name == "rtmdet-ins_tiny"]
    start = convert_state(case.state(), "rtmdet-ins")
    for key, value in load_checkpoint(Path("run/weights/best.pt"))["state_dict"].items():
        if "class_logits" in key:
            assert len(value) == 4, key
        elif "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(value, start[key], rtol=1e-2, atol=1e-3, msg=key)
    model = crispmask.load("run/weights/best.pt")
    assert len(model.names) == 4
    assert main(["predict", "--weights", "run/weights/best.pt", "--source", "data/images/val"]) == 0


@pytest.mark.slow
def test_a_layout_that_is_no_size_trains_goes_on_and_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = ["batch_sheet", "plot_results", "instances_sheet", "plot_pr_curve"]
    pictures = [f"engine.report.{name}" for name in [*pictures, "plot_f1_curve", "plot_confusion"]]
    pages = ["engine.prepare.plot_labels", "engine.fit.write_run_page", "validate.write_val_page"]
    for name in [*pictures, *pages]:
        monkeypatch.setattr(f"crispmask.{name}", lambda *_, **__: None)
    make_checkpoint(DATA / "keys" / "solov2_light_r18.json", "coco.pth")
    assert main(["sample", "--out", "data", "--images", "3", "--imgsz", "64"]) == 0
    original = epochs.train_epoch

    def interrupted(run: Any, *arguments: Any) -> Any:
        if run.epoch == 1:
            raise KeyboardInterrupt
        return original(run, *arguments)

    flags = "--data data/data.yaml --weights coco.pth --imgsz 64 --batch 2 --epochs 2 --workers 0"
    with monkeypatch.context() as patch:
        patch.setattr(epochs, "train_epoch", interrupted)
        assert main(["train", *flags.split(), "--device", "cpu"]) == 130
    run = Path("work_dirs/solov2_light-r18")
    assert main(["train", "--resume", str(run)]) == 0
    best = run / "weights" / "best.pt"
    assert (crispmask.load(best).spec.model, load_checkpoint(best)["epoch"]) == ("light-r18", 2)
    assert main(["val", "--weights", str(best), "--data", "data/data.yaml", "--workers", "0"]) == 0


@pytest.mark.slow
def test_a_file_of_another_size_says_of_which(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    make_checkpoint(DATA / "keys" / "rtmdet-ins_tiny.json", "coco.pth")
    assert main(["sample", "--out", "data", "--images", "2", "--imgsz", "64"]) == 0
    flags = "--data data/data.yaml --weights coco.pth --imgsz 64 --workers 0 --device cpu"
    assert main(["train", *flags.split(), "architecture=solov2"]) == 2
    error = capsys.readouterr().err
    assert "train with --architecture rtmdet-ins" in error
    assert main(["train", *flags.split(), "model=small"]) == 2
    error = capsys.readouterr().err
    assert "coco.pth" in error
    assert "its tensors are those of rtmdet-ins tiny: give --model tiny" in error
    assert error.count("\n") == 1
