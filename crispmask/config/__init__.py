"""Every default of the package, each in one place. No torch here: `--help` stays fast."""

from __future__ import annotations

from crispmask.config.augment import AugmentConfig
from crispmask.config.checks import check_val_fraction
from crispmask.config.decode import DecodeConfig
from crispmask.config.train import Architecture, ModelName, TrainConfig

__all__ = [
    "Architecture",
    "AugmentConfig",
    "DecodeConfig",
    "ModelName",
    "TrainConfig",
    "check_val_fraction",
]
