"""The folder of what is kept for the next time: downloads, and indexes of datasets."""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "CRISPMASK_CACHE"
"""Environment variable that names another folder."""

_UNUSED_DAYS = 30
_PARTIAL_DAYS = 1


def default_folder() -> Path:
    """Where files are kept: CRISPMASK_CACHE, or crispmask in the user's cache folder."""
    if named := os.environ.get(VARIABLE):
        return Path(os.path.expanduser(named))
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "crispmask"


def mark_used(path: Path) -> None:
    """Notes that a file was used now."""
    try:
        os.utime(path)
    except OSError:  # of another user, or on a disk that cannot be written
        return


def tidy(folder: Path, suffix: str) -> None:
    """Removes files not used for a month, and what killed processes left."""
    now = time.time()
    for pattern, days in ((f"*{suffix}", _UNUSED_DAYS), (".*.partial", _PARTIAL_DAYS)):
        for path in folder.glob(pattern):
            try:
                if now - path.stat().st_mtime > days * 86400:
                    path.unlink()
            except OSError:  # another process was faster, or holds it open
                continue
