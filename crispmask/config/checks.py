"""Conditions on the values of flags, each with its line."""

from __future__ import annotations

from crispmask.errors import ConfigError


def check(condition: bool, message: str) -> None:
    """Raises a `ConfigError` with a message if a condition does not hold."""
    if not condition:
        raise ConfigError(message)


def check_val_fraction(value: float) -> None:
    """Raises a `ConfigError` for what is no fraction of images."""
    check(0 <= value < 1, f"--val-fraction is 0 to below 1, not {value}")
