"""Training from a configuration with another backbone and what can be said of its training."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from toy_dataset import write_toy_dataset

import crispmask
from crispmask.config import TrainConfig
from crispmask.engine import epochs as epochs_module
from crispmask.engine import fit as fit_module
from crispmask.engine.checkpoint import load_checkpoint
from crispmask.engine.fit import fit
from crispmask.engine.resolve import from_plain
from crispmask.errors import ConfigError


@pytest.fixture(params=["solov2", "rtmdet-ins"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> TrainConfig:
    """Starts from a checkpoint, as a frozen stage must have been trained before."""
    torch.manual_seed(0)
    start = crispmask.build(request.param, "nano", 2, imgsz=64, backbone="test_efficientnet")
    start.save(tmp_path / "start.pt")
    return TrainConfig(
        data=str(write_toy_dataset(tmp_path / "data", num_train=4, num_val=2, classes=2)),
        architecture=request.param,
        backbone="test_efficientnet",
        epochs=2,
        batch=2,
        imgsz=64,
        work_dir=str(tmp_path / "run"),
        weights=str(tmp_path / "start.pt"),
        freeze=2,
        norm_eval=True,
        backbone_lr=0.5,
        layer_decay=0.8,
        device="cpu",
        workers=0,
    )


@pytest.mark.slow
def test_trains_resumes_and_loads(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    straight = fit(config, Console(file=out, width=200))
    assert (
        "test_efficientnet.r160_in1k, stem and first 2 stages frozen, batch statistics kept, "
        "learning rate x 0.5, layer decay 0.8"
    ) in out.getvalue()

    saved = from_plain(yaml.safe_load((straight.work_dir / "config.yaml").read_text()), "x")
    assert saved.backbone == "test_efficientnet.r160_in1k"
    assert (saved.freeze, saved.norm_eval) == (2, True)
    assert (saved.backbone_lr, saved.layer_decay) == (0.5, 0.8)

    start = load_checkpoint(config.weights)["state_dict"]
    model = crispmask.load(straight.best_path)
    stages = model.network.backbone.parameter_stages()
    for name, parameter in model.network.backbone.body.named_parameters():
        same = parameter.equal(start[f"backbone.body.{name}"])
        assert same == (stages[name] <= 2), name

    original = epochs_module.train_epoch

    def interrupted(run: Any, *arguments: Any) -> Any:
        if run.epoch == 1:
            raise KeyboardInterrupt
        return original(run, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(epochs_module, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(replace(config, work_dir=str(tmp_path / "stopped")), Console(file=out))
    resumed = fit(TrainConfig(resume=str(tmp_path / "stopped")), Console(file=out))
    a = load_checkpoint(straight.work_dir / "weights/last.pt")["training"]
    b = load_checkpoint(resumed.work_dir / "weights/last.pt")["training"]
    assert all(value.equal(b["weights"][key]) for key, value in a["weights"].items())
    groups = [group["lr_scale"] for group in b["optimizer"]["param_groups"]]
    assert groups == [1.0, 1.0, 0.4, 0.4, 0.5 * 0.8**2, 0.5 * 0.8**2]


def test_a_backbone_that_does_not_fit_fails_before_images_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(fit_module, "read_data", read)
    data = str(write_toy_dataset(tmp_path / "data", num_train=1, num_val=1))
    config = TrainConfig(data=data, work_dir=str(tmp_path / "run"), weights="none", device="cpu")
    with pytest.raises(ConfigError, match="did you mean resnet50d"):
        fit(replace(config, backbone="resnet50dd"), Console(file=io.StringIO()))
    with pytest.raises(ConfigError, match="no map of stride 4, 8, 32"):
        fit(replace(config, backbone="vit_tiny_patch16_224"), Console(file=io.StringIO()))
    assert not (tmp_path / "run").exists()
