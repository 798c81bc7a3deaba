"""Checkpoints: plain dicts of tensors and builtin types that describe themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from crispmask.errors import WeightsError, reason_of
from crispmask.models.files import FORMAT, check_own


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint of this package, tensors on the CPU; no code in it runs.

    Raises:
        WeightsError: missing, damaged, of something else or of a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; a run keeps its checkpoints in weights/")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, key and runtime errors for bad files
        raise WeightsError(
            f"{path}: damaged or not a checkpoint ({reason_of(error)}); copy or train it again"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise WeightsError(f"{path}: not a checkpoint of crispmask; give a best.pt or last.pt")
    check_own(path, content)
    return content


def find_last(resume: str | Path) -> Path:
    """The last.pt a `--resume` value means: the file itself, or that of a run folder.

    Raises:
        WeightsError: the folder has none.
    """
    path = Path(resume)
    if not path.is_dir():
        return path
    for candidate in (path / "weights" / "last.pt", path / "last.pt"):
        if candidate.is_file():
            return candidate
    raise WeightsError(f"{path}: nothing to resume, it has no weights/last.pt")
