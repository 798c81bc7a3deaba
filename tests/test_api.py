"""Settings of `crispmask.train` into the configuration of a run."""

from __future__ import annotations

from typing import Any

import pytest

from crispmask.api import train_config
from crispmask.config import AugmentConfig
from crispmask.errors import ConfigError


@pytest.mark.parametrize(
    "settings",
    [
        {"mosaic": 0.25, "degrees": 1},
        {"augment": {"mosaic": 0.25, "degrees": 1}},  # as in the config.yaml of a run
        {"augment": AugmentConfig(mosaic=0.25, degrees=1)},
    ],
)
def test_augmentation_beside_the_others_or_inside(settings: dict[str, Any]) -> None:
    config = train_config(epochs=7, **settings)
    assert config.epochs == 7
    assert config.augment == AugmentConfig(mosaic=0.25, degrees=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "ten"}, "epochs has a value of the wrong kind"),
        ({"mosaic": "yes"}, "mosaic has a value of the wrong kind"),
        ({"augment": {"mosaik": 1}}, "unknown setting augment.mosaik"),
        ({"augment": 3}, "augment must hold"),
        ({"epoch": 3}, "no setting 'epoch'; did you mean epochs?"),
        ({"augment": {}, "mosaic": 1.0}, "inside `augment` or beside it"),
    ],
)
def test_wrong_settings_are_told_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        train_config(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
