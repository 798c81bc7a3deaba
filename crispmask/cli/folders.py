"""Where a command writes when the user does not say."""

from __future__ import annotations

from pathlib import Path


def free_folder(wanted: Path) -> Path:
    """The folder, with _2, _3 ... added if it is there already."""
    path, number = wanted, 1
    while path.exists():
        number += 1
        path = wanted.with_name(f"{wanted.name}_{number}")
    return path
