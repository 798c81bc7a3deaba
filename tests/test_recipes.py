"""Every number of the recipes, each with where it comes from."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from crispmask.api import train_config
from crispmask.cli.arguments import parse
from crispmask.cli.train import recipe_words
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.errors import ConfigError
from crispmask.recipes import RECIPES, recipe_settings


def values(config: TrainConfig, *names: str) -> tuple[object, ...]:
    return tuple(
        getattr(config if hasattr(config, name) else config.augment, name) for name in names
    )


def test_matched_is_the_default_and_the_numbers_users_were_promised() -> None:
    config = train_config()
    assert config == TrainConfig() == train_config(recipe="matched")
    assert values(config, "epochs", "batch", "imgsz", "lr") == (150, "auto", 1280, "auto")
    assert values(config, "momentum", "warmup_epochs", "warmup_start", "final_lr", "schedule") == (
        0.937,
        7.0,
        0.02,
        0.017,
        "cosine",
    )
    assert values(config, "mosaic", "mixup", "degrees", "translate", "scale", "shear") == (
        1.0,
        0.0,
        2.0,
        0.1,
        0.5,
        0.0,
    )
    assert values(config, "hsv_h", "hsv_s", "hsv_v", "fliplr", "flipud") == (
        0.015,
        0.7,
        0.4,
        0.5,
        0.0,
    )
    assert values(config, "brightness", "contrast") == (0.2, 0.2)
    assert config.nominal_batch == 0


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_ultralytics(architecture: str) -> None:
    """Source: the behaviour of ultralytics 8.4: engine/trainer.py, cfg/default.yaml."""
    config = train_config(recipe="ultralytics", architecture=architecture)
    assert values(config, "schedule", "final_lr", "warmup_epochs", "warmup_start") == (
        "linear",
        0.01,
        3.0,
        0.0,
    )
    assert values(config, "nominal_batch", "weight_decay", "clip_norm") == (64, 0.0005, 10.0)
    assert values(config, "ema_decay", "ema_tau", "close_mosaic") == (0.9999, 2000.0, 10)
    assert values(config, "degrees", "brightness_contrast_p", "mosaic", "scale") == (0, 0, 1, 0.5)
    assert values(config, "warmup_momentum", "warmup_bias_lr", "nesterov") == (0.8, "auto", True)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_ultralytics_with_an_optimizer_chosen_by_hand(optimizer: str) -> None:
    """Source: ultralytics 8.4: warmup_bias_lr in cfg/default.yaml, which `auto` sets to 0."""
    config = train_config(recipe="ultralytics", optimizer=optimizer)
    assert values(config, "warmup_bias_lr", "warmup_momentum") == (0.1, 0.8)
    words = ["--recipe", "ultralytics", "--optimizer", optimizer]
    assert parse(TrainConfig, [*recipe_words(words), *words], "prog") == config
    assert train_config(optimizer=optimizer).warmup_bias_lr == "auto"


def test_native_solov2() -> None:
    """Source: mmdetection: configs/solov2/solov2_r50_fpn_1x_coco.py and its bases."""
    config = train_config(recipe="native")
    assert values(config, "optimizer", "momentum", "weight_decay", "clip_norm") == (
        "sgd",
        0.9,
        0.0001,
        35.0,
    )
    assert values(config, "schedule", "warmup_epochs", "warmup_min_steps", "warmup_start") == (
        "steps",
        0.0,
        500,
        0.001,
    )
    assert values(config, "ema_decay", "mosaic", "mixup", "hsv_s", "degrees") == (0, 0, 0, 0, 0)
    assert config.augment.fliplr == 0.5


@pytest.mark.parametrize(
    ("model", "mixup", "scale"),
    [("tiny", 0.5, 0.5), ("small", 1.0, 0.5), ("medium", 1.0, 0.9), ("large", 1.0, 0.9)],
)
def test_native_rtmdet_ins(model: str, mixup: float, scale: float) -> None:
    """Source: mmdetection: configs/rtmdet/rtmdet-ins_*_8xb32-300e_coco.py."""
    config = train_config(recipe="native", architecture="rtmdet-ins", model=model)
    assert values(config, "optimizer", "weight_decay", "clip_norm") == ("adamw", 0.05, 0)
    assert values(config, "schedule", "final_lr", "warmup_min_steps", "warmup_start") == (
        "flat-cosine",
        0.05,
        1000,
        1e-5,
    )
    assert values(config, "ema_decay", "ema_tau", "close_mosaic") == (0.9998, 2000.0, 20)
    assert values(config, "mosaic", "mixup", "scale", "degrees") == (1.0, mixup, scale, 0)
    assert values(config, "hsv_h", "hsv_s", "hsv_v") == pytest.approx((5 / 180, 30 / 255, 30 / 255))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_a_recipe_sets_only_what_there_is(recipe: str, architecture: str) -> None:
    names = {f.name for f in fields(TrainConfig)} | {f.name for f in fields(AugmentConfig)}
    assert recipe_settings(recipe, architecture, "small").keys() <= names


def test_what_is_given_counts_more() -> None:
    config = train_config(recipe="ultralytics", degrees=4.0, clip_norm=1.0)
    assert values(config, "degrees", "clip_norm", "final_lr") == (4.0, 1.0, 0.01)
    words = ["degrees=4.0", "--clip-norm", "1", "--recipe", "ultralytics"]
    assert parse(TrainConfig, [*recipe_words(words), *words], "prog") == config


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_command_line_gives_the_same(recipe: str) -> None:
    words = ["--recipe", recipe, "--architecture=rtmdet-ins", "model=large"]
    config = parse(TrainConfig, [*recipe_words(words), *words], "prog")
    assert config == train_config(recipe=recipe, architecture="rtmdet-ins", model="large")


def test_a_run_that_goes_on_keeps_its_settings() -> None:
    assert train_config(resume="x", recipe="native").schedule == "cosine"


def test_unknown_recipe() -> None:
    with pytest.raises(ConfigError, match=r"^--recipe must be one of .* did you mean native\?$"):
        train_config(recipe="nativ")


def test_the_document_shows_the_numbers() -> None:
    text = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `--([a-z-]+)` \| (.*) \|$", text, flags=re.MULTILINE))
    native = {a: recipe_settings("native", a, "large") for a in ("solov2", "rtmdet-ins")}
    assert "0.1 where `--optimizer` is given" in rows["warmup-bias-lr"]
    columns = [{}, recipe_settings("ultralytics", "solov2", "nano"), *native.values()]
    named = {name.replace("_", "-") for settings in columns for name in settings}
    colours = {"hsv-h", "hsv-s", "hsv-v"}  # one row for the three
    apart = colours | {"optimizer", "weight-decay", "momentum", "ema-tau"}  # words
    assert named - apart - rows.keys() == set()
    for name in rows.keys() - apart - {"lr", "close-mosaic"}:
        shown = [cell.strip() for cell in rows[name].split(" | ")]
        for settings, cell in zip(columns, shown, strict=True):
            (value,) = values(train_config(**settings), name.replace("-", "_"))
            assert cell == "-" or str(value) in cell.replace(",", "").split(), name
