from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine.resolve import (
    from_plain,
    resolve,
    save_train_config,
    to_plain,
)
from crispmask.engine.workdir import WorkDir
from crispmask.errors import ConfigError

DATA = Path("data.yaml")
WORK = WorkDir(Path("work_dirs/x"))


def test_everything_left_open_is_decided() -> None:
    settings = resolve(TrainConfig(device="cpu"), WORK, DATA, 3, 100)
    assert (settings.batch, settings.close_mosaic, settings.weight_decay) == (8, 10, 0.0005)
    assert settings.config.precision == "32"
    values = to_plain(settings.config).values()
    assert "auto" not in values
    assert Path(settings.config.data).is_absolute()
    tiny = resolve(
        TrainConfig(architecture="rtmdet-ins", epochs=12, device="cpu"), WORK, DATA, 3, 100
    )
    assert (tiny.config.model, tiny.batch, tiny.close_mosaic) == ("tiny", 10, 2)
    assert (tiny.lr, tiny.weight_decay) == (0.004, 0.05)


def test_grids_follow_the_image_unless_given() -> None:
    settings = resolve(TrainConfig(imgsz=256, device="cpu"), WORK, DATA, 3, 100)
    assert settings.config.num_cells() == (32, 32, 24, 16, 12)
    settings = resolve(TrainConfig(grids="20,16,12,10,8", device="cpu"), WORK, DATA, 3, 100)
    assert settings.config.num_cells() == (20, 16, 12, 10, 8)


@pytest.mark.parametrize("grids", ["20,16,12,10", "0,1,1,1,1", "a", "20, 16, 12, 10, 8"])
def test_grids_that_cannot_be(grids: str) -> None:
    with pytest.raises(ConfigError, match=f"^--grids is auto or five numbers .*, not {grids}$"):
        TrainConfig(grids=grids)


def test_grids_are_for_solov2() -> None:
    with pytest.raises(ConfigError, match=r"^--grids is for solov2"):
        TrainConfig(architecture="rtmdet-ins", grids="20,16,12,10,8")


@pytest.mark.parametrize(
    ("architecture", "weights", "freeze", "norm_eval"),
    [
        ("solov2", "imagenet", 1, True),
        ("solov2", "start.pt", 1, True),
        ("solov2", "none", 0, False),
        ("rtmdet-ins", "imagenet", 0, False),
    ],
)
def test_what_is_kept_of_the_backbone(architecture, weights, freeze, norm_eval) -> None:
    config = TrainConfig(architecture=architecture, weights=weights, device="cpu")
    settings = resolve(config, WORK, DATA, 3, 100)
    assert (settings.freeze, settings.norm_eval) == (freeze, norm_eval)
    assert (settings.config.freeze, settings.config.norm_eval) == (freeze, norm_eval)
    settings = resolve(replace(config, freeze=0, norm_eval=False), WORK, DATA, 3, 100)
    assert (settings.freeze, settings.norm_eval) == (0, False)


@pytest.mark.parametrize(
    ("given", "saved"),
    [
        ("auto", "resnet18"),
        ("resnet18", "resnet18"),
        ("resnet18.tv_in1k", "resnet18.tv_in1k"),
        ("convnext_tiny", "convnext_tiny.in12k_ft_in1k"),
    ],
)
def test_the_backbone_is_named_in_full(given: str, saved: str) -> None:
    settings = resolve(TrainConfig(backbone=given, device="cpu"), WORK, DATA, 3, 100)
    assert settings.config.backbone == saved


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": 5}, "--freeze is auto or 0 to 4, not 5"),
        ({"freeze": 1, "weights": "none"}, "--freeze 1 would keep random weights"),
        ({"norm_eval": True, "weights": "none"}, "--norm-eval true would keep"),
        ({"backbone_lr": 0.0}, "--backbone-lr must be positive, not 0.0; --freeze 4"),
        ({"layer_decay": 1.5}, "--layer-decay is above 0 to 1, not 1.5"),
    ],
)
def test_what_the_backbone_cannot_do(settings, message) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        TrainConfig(**settings)


def test_given_values_stay() -> None:
    config = TrainConfig(batch=3, lr=0.5, weight_decay=0.0, close_mosaic=0, device="cpu")
    settings = resolve(config, WORK, DATA, 3, 100)
    assert (settings.batch, settings.lr) == (3, 0.5)
    assert (settings.weight_decay, settings.close_mosaic) == (0.0, 0)


def test_resolving_twice_changes_nothing() -> None:
    once = resolve(TrainConfig(device="cpu"), WORK, DATA, 3, 100)
    assert resolve(once.config, WORK, DATA, 3, 100) == once


def test_config_file_round_trip(tmp_path: Path) -> None:
    config = resolve(
        TrainConfig(device="cpu", augment=AugmentConfig(mosaic=0.5)), WORK, DATA, 2, 100
    ).config
    save_train_config(config, tmp_path / "config.yaml")
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert from_plain(written, "config.yaml") == config
    about_the_call = {"list_models", "resume", "quiet", "json_lines"}
    assert set(written) == {f.name for f in fields(TrainConfig)} - about_the_call


def test_missing_settings_take_their_default() -> None:
    assert from_plain({"epochs": 3}, "x") == TrainConfig(epochs=3)
    assert from_plain({"augment": {"degrees": 5.0}}, "x") == replace(
        TrainConfig(), augment=AugmentConfig(degrees=5.0)
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("epoch: 3", "unknown setting epoch"),
        ("augment: {mosaik: 1}", "unknown setting augment.mosaik"),
        ("augment: 3", "augment must hold"),
        ("{lr: 0.1, epochs: many}", "config.yaml: epochs has a value of the wrong kind"),
        ("augment: {mosaic: much}", "config.yaml: mosaic has a value of the wrong kind"),
        ("logger: 5", "config.yaml: logger has a value of the wrong kind"),
        ("epochs: 0", "--epochs"),
    ],
)
def test_bad_settings_give_one_line(text: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_plain(yaml.safe_load(text), "config.yaml")
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
