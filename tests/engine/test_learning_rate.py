"""Every rate a recipe chooses, and when a given one is warned of."""

from __future__ import annotations

import pytest

from crispmask.api import train_config
from crispmask.engine.learning_rate import choose_rate


def chosen(num_classes: int = 3, num_images: int = 217, batch: int = 8, **settings: object):
    return choose_rate(train_config(**settings), batch, num_classes, num_images)


def test_matched_takes_the_formula_for_solov2() -> None:
    optimizer, momentum, rate = chosen()
    assert (optimizer, momentum) == ("sgd", 0.937)
    assert rate.lr == 0.001429  # 0.002 * 5 / (4 + 3), rounded to six places
    assert rate.reason == "auto: 0.002 * 5 / (4 + 3 classes)"


def test_matched_takes_one_rate_for_rtmdet_ins() -> None:
    optimizer, _, rate = chosen(architecture="rtmdet-ins", batch=10)
    assert (optimizer, rate.lr) == ("adamw", 0.004)
    assert rate.reason == "auto: fixed, 26 x the linearly scaled 0.000156"


@pytest.mark.parametrize("architecture", ["solov2", "rtmdet-ins"])
def test_ultralytics_takes_adamw_for_short_runs(architecture: str) -> None:
    # 217 images at 64 a step are 4 steps an epoch
    optimizer, momentum, rate = chosen(recipe="ultralytics", architecture=architecture)
    assert (optimizer, momentum, rate.lr) == ("adamw", 0.937, 0.001429)
    optimizer, momentum, rate = chosen(
        recipe="ultralytics", architecture=architecture, num_images=64 * 101, epochs=100
    )
    assert (optimizer, momentum, rate.lr) == ("sgd", 0.9, 0.01)


def test_native_scales_with_the_images_per_step() -> None:
    optimizer, momentum, rate = chosen(recipe="native")
    assert (optimizer, momentum, rate.lr) == ("sgd", 0.9, 0.005)
    optimizer, _, rate = chosen(recipe="native", architecture="rtmdet-ins")
    assert (optimizer, rate.lr) == ("adamw", pytest.approx(0.004 * 8 / 256))
    _, _, rate = chosen(recipe="native", architecture="rtmdet-ins", nominal_batch=64)
    assert rate.lr == pytest.approx(0.004 * 64 / 256)


def test_a_bold_rate_is_warned_of() -> None:
    _, _, rate = chosen(lr=0.01)
    # 0.01 / (0.01 * 8 / 16) * (1 - 0.9) / (1 - 0.937)
    assert "--lr 0.01 is 3.2 times" in rate.warning
    assert "--lr auto takes 0.001429" in rate.warning
    assert rate.lr == 0.01


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lr": 0.002},
        {"architecture": "rtmdet-ins"},
        {"architecture": "rtmdet-ins", "lr": 0.004},
        {"optimizer": "adamw", "lr": 0.01},
    ],
)
def test_other_rates_are_not(settings: dict) -> None:
    assert chosen(**settings)[2].warning == ""
