from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine.resolve import (
    from_plain,
    load_train_config,
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
    assert load_train_config(tmp_path / "config.yaml") == config
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert set(written) == {f.name for f in fields(TrainConfig)} - {"list_models", "resume"}


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
        ("epochs: many", "wrong kind"),
        ("epochs: 0", "--epochs"),
        ("- a", "holds no settings"),
        ("a: [", "not YAML"),
    ],
)
def test_bad_config_files_give_one_line(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_train_config(tmp_path / "config.yaml")
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_config_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_train_config(tmp_path / "none.yaml")
