"""The device a command works on."""

from __future__ import annotations


def torch_device(device: str) -> str:
    """The `--device` flag as torch names it: `auto` and GPU numbers resolved.

    Raises:
        ConfigError: no such device on this machine.
    """
    from crispmask.engine.device import resolve_device  # torch takes seconds

    resolved = resolve_device(device)
    return f"cuda:{resolved}" if resolved.isdecimal() else resolved
