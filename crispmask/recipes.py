"""Training recipes: settings that belong together, as defaults below the user's own flags.

The recipe `matched` is what the configuration dataclasses hold. A row here says what another
recipe changes; `docs/recipes.md` explains each number.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from crispmask.config import TrainConfig
from crispmask.errors import ConfigError
from crispmask.suggest import did_you_mean

_ULTRALYTICS: Mapping[str, Any] = MappingProxyType(
    {
        "schedule": "linear",
        "final_lr": 0.01,
        "warmup_epochs": 3.0,
        "warmup_start": 0.0,
        "warmup_momentum": 0.8,
        "nesterov": True,
        "nominal_batch": 64,
        "weight_decay": 0.0005,
        "clip_norm": 10.0,
        "ema_decay": 0.9999,
        "ema_tau": 2000.0,
        "close_mosaic": 10,
        "degrees": 0.0,
        "brightness_contrast_p": 0.0,
    }
)
"""What Ultralytics 8.4 does when nothing is set.

Source: the behaviour of ultralytics/engine/trainer.py, data/augment.py and cfg/default.yaml.
"""

_NATIVE_SOLOV2: Mapping[str, Any] = MappingProxyType(
    {
        "optimizer": "sgd",
        "momentum": 0.9,
        "weight_decay": 0.0001,
        "schedule": "steps",
        "warmup_epochs": 0.0,
        "warmup_min_steps": 500,
        "warmup_start": 0.001,
        "clip_norm": 35.0,
        "ema_decay": 0.0,
        "close_mosaic": 0,
        **dict.fromkeys(("mosaic", "hsv_h", "hsv_s", "hsv_v", "brightness_contrast_p"), 0.0),
        **dict.fromkeys(("degrees", "translate"), 0.0),
        "scale": 0.1,
    }
)
"""How SOLOv2 was published. Source: mmdetection: configs/solov2."""

_NATIVE_RTMDET_INS: Mapping[str, Any] = MappingProxyType(
    {
        "optimizer": "adamw",
        "weight_decay": 0.05,
        "schedule": "flat-cosine",
        "final_lr": 0.05,
        "warmup_epochs": 0.0,
        "warmup_min_steps": 1000,
        "warmup_start": 1e-5,
        "clip_norm": 0.0,
        "ema_decay": 0.9998,
        "ema_tau": 2000.0,
        "close_mosaic": 20,
        "mixup": 1.0,
        "degrees": 0.0,
        "brightness_contrast_p": 0.0,
        "hsv_h": 5 / 180,
        "hsv_s": 30 / 255,
        "hsv_v": 30 / 255,
        "scale": 0.9,
    }
)
"""How RTMDet-Ins was published. Source: mmdetection: configs/rtmdet."""

_SMALL_RTMDET_INS: Mapping[str, Any] = MappingProxyType({"scale": 0.5})
"""Of sizes tiny and small: less change of size. Source: mmdetection: configs/rtmdet."""

RECIPES = ("matched", "ultralytics", "native")
"""Names a user chooses from."""


_ULTRALYTICS_BIAS_LR = 0.1
"""Learning rate of biases at the first step where the optimizer was chosen by hand; with its
own choice, Ultralytics starts them as everything else. Source: ultralytics/engine/trainer.py."""


def recipe_settings(
    recipe: str, architecture: str, model: str, optimizer: str = "auto"
) -> dict[str, Any]:
    """What a recipe sets beside the defaults, by flag name with underscores.

    Args:
        recipe: one of `RECIPES`.
        architecture: `solov2` or `rtmdet-ins`; another one gets the message of its flag later.
        model: size.
        optimizer: as the user asked for it.

    Raises:
        ConfigError: no such recipe.
    """
    if recipe not in RECIPES:
        raise ConfigError(
            f"--recipe must be one of {', '.join(RECIPES)}, not {recipe!r}"
            + did_you_mean(recipe, RECIPES)
        )
    if recipe == "matched":
        return {}
    if recipe == "ultralytics":
        by_hand = {} if optimizer == "auto" else {"warmup_bias_lr": _ULTRALYTICS_BIAS_LR}
        return {**_ULTRALYTICS, **by_hand}
    if architecture == "solov2":
        return dict(_NATIVE_SOLOV2)
    settings = dict(_NATIVE_RTMDET_INS)
    if model in ("nano", "tiny", "small", "s"):
        settings |= _SMALL_RTMDET_INS
    if model in ("nano", "tiny"):
        settings["mixup"] = 0.5
    return settings


def with_recipe(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings below which those of the recipe they name are laid."""
    recipe, architecture, model, optimizer = (
        str(settings.get(name, getattr(TrainConfig, name)))
        for name in ("recipe", "architecture", "model", "optimizer")
    )
    return {**recipe_settings(recipe, architecture, model, optimizer), **settings}
