"""Settings as the tables of loggers want them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, bool | str | float]:
    """Settings by name, those of the augmentation after `augment.`; no None, no lists."""
    flat: dict[str, bool | str | float] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, (bool, int, float)) else str(value)
    return flat
