"""Training from Python with the names of the flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from crispmask.augment.transform import Transform
from crispmask.config import AugmentConfig, TrainConfig
from crispmask.engine.callback import Callback
from crispmask.engine.fit import TrainResult, fit
from crispmask.engine.resolve import from_plain
from crispmask.errors import ConfigError
from crispmask.models.weights import model_of
from crispmask.recipes import with_recipe
from crispmask.suggest import did_you_mean


def train(
    *,
    transform: Transform | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> TrainResult:
    """Trains a model, as `crispmask train` does.

    Args:
        transform: the user's own change of training images: `fn(image, rng) -> image` on
            pixels, (H, W, 3) uint8 RGB and a NumPy generator; a pipeline of Albumentations,
            which may move things, too; or several in order. It comes before the colours.
        callbacks: told what happens while it does; see `crispmask.Callback`.
        **settings: the flags with underscores, those of the augmentation beside the others:
            `train(data="data.yaml", model="tiny", epochs=10, mosaic=0.5)`.

    Returns:
        The best mask mAP50-95, where its checkpoint lies, and all metrics of that model.

    Raises:
        CrispmaskError: a setting, a dataset or weights that cannot be used.
    """
    return fit(train_config(**settings), transform=transform, callbacks=callbacks)


def train_config(**settings: Any) -> TrainConfig:
    """The `TrainConfig` of flat settings."""
    augment_names = {field.name for field in fields(AugmentConfig)}
    names = {field.name for field in fields(TrainConfig)} | augment_names
    for name in settings:
        if name not in names:
            raise ConfigError(f"no setting {name!r}{did_you_mean(name, names)}")
    if not settings.get("resume"):  # a run that goes on has its settings
        weights = str(settings.get("weights", TrainConfig.weights))
        found = model_of(weights, settings, bool(settings.get("offline")))
        settings = with_recipe({**found, **settings})
    augment = {name: settings[name] for name in settings if name in augment_names}
    rest = {name: settings[name] for name in settings if name not in augment_names}
    if augment and "augment" in rest:
        raise ConfigError(f"give {', '.join(augment)} inside `augment` or beside it, not both")
    given = augment or rest.get("augment", {})
    rest["augment"] = asdict(given) if isinstance(given, AugmentConfig) else given
    return from_plain(rest, "train()")
